"""Workers are killed with -9 while jobs run: none is lost, and no attempt has two outcomes."""

import os
import random
import sys
import time
from pathlib import Path

from millstream.local.broker import Broker
from millstream.local.process import ChildProcess
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.eventlog import EventLog


def worker(bootstrap: str, topics: TopicCatalogue, name: str, folder: Path) -> ChildProcess:
    """A worker process with the demo's handlers, not started."""
    return ChildProcess(
        [sys.executable, "-m", "millstream", "worker", "millstream.demo.jobs", "--name", name, "--concurrency", "20"],
        cwd=folder,
        env={
            **os.environ,
            "MILLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
            "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
            "MILLSTREAM_WORKER__GROUP": f"{topics.prefix}workers",
        },
    )


def test_one_of_three_workers_is_killed_again_and_again(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> None:
    dice = random.Random(11)
    workers = [worker(kafka.bootstrap, topics, f"w{number}", tmp_path) for number in range(3)]
    log = EventLog(kafka.bootstrap, topics.events)
    ids: list[str] = []
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as client:
        for each in workers:
            each.start()
        for kill in range(5):
            jobs = [NewJob("demo.sleep", {"seconds": dice.uniform(0.01, 0.2)}, tenant=f"t{n % 3}") for n in range(300)]
            ids += client.submit_many(jobs)
            deadline = time.monotonic() + dice.uniform(0.5, 3.0)
            while time.monotonic() < deadline:
                log.read(0.1)
            victim = workers[kill % 3]
            victim.kill()
            victim.start()
    log.until_finished(ids, within_s=120)
    for each in workers:
        assert each.stop(30) == 0, each.tail
    log.read(1)
    begun = sum(log.started.values())
    lost = [job_id for job_id in ids if job_id not in log.finished]
    doubled = {attempt: count for attempt, count in log.outcomes.items() if count > 1}
    print(
        f"jobs={len(ids)} executions={begun} outcomes={sum(log.outcomes.values())} "
        f"lost={len(lost)} doubled={len(doubled)}"
    )
    assert lost == []
    assert doubled == {}
    assert len(log.outcomes) == len(ids)
    log.close()


def test_a_worker_stopped_past_its_session_does_not_write_what_others_have_done(
    kafka: Broker, topics: TopicCatalogue, tmp_path: Path
) -> None:
    sleeper = worker(kafka.bootstrap, topics, "sleeper", tmp_path)
    log = EventLog(kafka.bootstrap, topics.events)
    with JobClient(KafkaConnection(kafka.bootstrap), topics) as client, sleeper:
        ids = client.submit_many([NewJob("demo.sleep", {"seconds": 0.3}) for _ in range(200)])
        while len(log.started) < 10:
            log.read()
        sleeper.suspend()
        with worker(kafka.bootstrap, topics, "other", tmp_path) as other:
            log.until_finished(ids, within_s=120)
            sleeper.resume()
            more = client.submit_many([NewJob("demo.sleep", {"seconds": 0.01}) for _ in range(200)])
            log.until_finished(more, within_s=120)
            time.sleep(1)
            log.read(1)
            assert other.is_alive() and sleeper.is_alive()
    assert set(log.outcomes.values()) == {1}
    assert len(log.outcomes) == 400
    log.close()
