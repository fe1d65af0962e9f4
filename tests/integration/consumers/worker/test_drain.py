"""Stopping a worker: it says what it does, finishes what runs, and can be hurried."""

import time
from pathlib import Path

import httpx
import psutil

from millstream.cli.service import ONE_STOP_S
from millstream.consumers.worker import Drained
from millstream.consumers.worker.transactions import fence, transactional_id
from millstream.local.broker import Broker
from millstream.local.ports import free_port
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog
from tests.support.running_worker import RunningWorker
from tests.support.worker_process import worker_process


def until_started(log: EventLog, job_id: str) -> None:
    deadline = time.monotonic() + 60
    while job_id not in log.started:
        assert time.monotonic() < deadline
        log.read()


def test_a_worker_that_drains_is_alive_and_not_ready_and_finishes_what_runs(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    port = free_port()
    with RunningWorker(kafka.bootstrap, topics, jobs, health_port=port) as running:
        job_id = client.submit("sleep", {"seconds": 2})
        until_started(log, job_id)
        running.worker.stop()
        time.sleep(0.3)
        polled_at = running.worker.status.polled_at
        time.sleep(0.3)
        assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 503
        live = httpx.get(f"http://127.0.0.1:{port}/live")
        assert (live.status_code, live.text) == (200, "draining\n")
        assert running.worker.status.polled_at > polled_at, "a long drain is not taken for a stuck worker"
        log.until_finished([job_id])
    assert running.drained is Drained.CLEAN


def test_a_worker_that_loses_its_producer_while_it_drains_writes_what_finishes_all_the_same(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, name="w", handover_grace_s=0) as running:
        job_id = client.submit("sleep", {"seconds": 3})
        until_started(log, job_id)
        running.worker.stop()
        fence(KafkaConnection(kafka.bootstrap), topics, transactional_id(topics, "w")).result(30)
        log.until_finished([job_id])
    assert running.drained is Drained.CLEAN
    assert log.outcomes[job_id, 1] == 1


def test_a_second_sigterm_ends_the_grace_period_and_the_exit_code_is_4(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, tmp_path: Path
) -> None:
    worker = worker_process(
        kafka.bootstrap,
        topics,
        tmp_path,
        "tests.support.misbehaving",
        f"{topics.prefix}w",
        MILLSTREAM_WORKER__DRAIN_GRACE_S="600",
    )
    worker.start()
    try:
        job_id = client.submit("well-behaved", {"seconds": 600})
        until_started(log, job_id)
        # A service manager signals each process of a group, and so does the worker's supervisor.
        worker.terminate()
        worker.terminate()
        time.sleep(ONE_STOP_S + 0.5)
        assert worker.is_alive(), "it waits for what runs"
        worker.terminate()
        assert worker.wait(30) == 4, worker.tail
    finally:
        worker.kill()
    assert job_id not in log.finished


def test_a_sigterm_to_every_process_of_a_supervised_worker_lets_what_runs_finish(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, tmp_path: Path
) -> None:
    arguments = (f"{topics.prefix}w", "--processes", "2")
    worker = worker_process(kafka.bootstrap, topics, tmp_path, "tests.support.misbehaving", *arguments)
    worker.start()
    try:
        job_ids = client.submit_many([NewJob("well-behaved", {"seconds": 5}) for _ in range(20)])
        for job_id in job_ids:
            until_started(log, job_id)
        # As a service manager or ctrl-C does; each child then hears of it from its supervisor too.
        assert worker.pid is not None
        for process in (psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)):
            process.terminate()
        assert worker.wait(60) == 0, worker.tail
    finally:
        worker.kill()
    log.until_finished(job_ids)
    assert [log.outcomes[job_id, 1] for job_id in job_ids] == [1] * 20
    assert sum(log.started.values()) == 20
