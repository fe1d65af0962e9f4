"""Worker processes that watch each other: one that is held up, one that is killed, and two of one name."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millstream.local.broker import Broker
from millstream.local.process import ChildProcess
from millstream.producers import JobClient
from millstream.schemas import EventKind, TopicCatalogue
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog, TopicReader
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until
from tests.support.worker_process import worker_process

Start = Callable[..., ChildProcess]


@pytest.fixture
def start(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Iterator[Start]:
    """Starts worker processes."""
    started: list[ChildProcess] = []

    def run(name: str) -> ChildProcess:
        worker = worker_process(kafka.bootstrap, topics, tmp_path, "tests.support.misbehaving", name)
        started.append(worker)
        worker.start()
        return worker

    yield run
    for each in started:
        each.kill()


def test_a_worker_whose_handler_holds_the_interpreters_lock_is_not_fenced_and_its_job_runs_once(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, start: Start
) -> None:
    held = start("held")
    job_id = client.submit("holds-the-lock", {"seconds": 7})
    with RunningWorker(kafka.bootstrap, topics, jobs.__class__(), "watching", lanes=("high",)) as watching:
        heartbeats = TopicReader(kafka.bootstrap, topics.heartbeats)
        log.until_finished([job_id])
        heartbeats.read(2)
        assert held.is_alive(), held.tail
        assert watching.worker.metrics.fenced == 0
    assert heartbeats.keys.count(b"held") > 5
    heartbeats.close()
    assert log.started[job_id] == 1
    assert log.kinds_of(job_id)[-1] is EventKind.SUCCEEDED


def test_a_worker_that_is_killed_is_fenced_before_its_session_ends(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, start: Start
) -> None:
    killed = start("killed")
    log.until_finished([client.submit("well-behaved", {})])
    with RunningWorker(kafka.bootstrap, topics, jobs, "watching") as watching:
        heartbeats = TopicReader(kafka.bootstrap, topics.heartbeats)
        heartbeats.until(lambda: b"killed" in heartbeats.keys)
        killed.kill()
        until(lambda: watching.worker.metrics.fenced == 1)
        heartbeats.close()


def test_a_second_process_of_one_name_ends_and_says_where_the_first_is_which_goes_on(
    client: JobClient, log: EventLog, start: Start
) -> None:
    first = start("twin")
    log.until_finished([client.submit("well-behaved", {})])
    time.sleep(2)
    second = start("twin")
    assert second.wait(60) == 5, second.tail
    assert f"process {first.pid} on host" in second.tail
    log.until_finished([client.submit("well-behaved", {})])
    assert first.is_alive()
    assert "producer_lost" not in first.tail
