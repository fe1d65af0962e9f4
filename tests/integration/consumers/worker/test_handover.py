"""Partitions that move while their jobs run: what runs goes on where it is, and nothing else waits for it."""

import threading

from confluent_kafka.admin import AdminClient

from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import EventKind, KafkaConnection, TopicCatalogue
from tests.integration.consumers.worker.handlers import jobs
from tests.support.eventlog import EventLog
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until


def shares(kafka: Broker, topics: TopicCatalogue) -> list[int]:
    """How many partitions of the default lane each member of its group has."""
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    (described,) = admin.describe_consumer_groups([f"{topics.prefix}workers.default"]).values()
    return sorted(len(each.assignment.topic_partitions) for each in described.result().members)


def until_started(log: EventLog, count: int) -> None:
    while len(log.started) < count:
        log.read()


def started_by(log: EventLog, job_id: str) -> list[str]:
    return [each.worker_id for each in log.events if each.job_id == job_id and each.kind is EventKind.STARTED]


def test_a_worker_that_joins_leaves_running_jobs_alone_and_new_ones_do_not_wait_for_them(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", threads=16):
        kinds = ["sleep", "thread"] * 8
        long = client.submit_many([NewJob(kind, {"seconds": 8}) for kind in kinds])
        until_started(log, len(long))
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2"):
            until(lambda: shares(kafka, topics) == [2, 2])
            quick = client.submit_many([NewJob("sleep", {}) for _ in range(100)])
            log.until_finished(quick)
            assert not log.finished & set(long), "the quick jobs did not wait for the long ones"
            log.until_finished(long)
        log.read(0.5)
    assert {log.started[each] for each in long} == {1}, "no job ran twice"
    assert {worker for each in long for worker in started_by(log, each)} == {"w1"}
    assert "w2" in {worker for each in quick for worker in started_by(log, each)}
    assert set(log.outcomes.values()) == {1}


def test_a_worker_that_drains_hands_its_partitions_over_at_once_and_finishes_what_runs(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1") as first:
        (long,) = client.submit_many([NewJob("sleep", {"seconds": 6})])
        until_started(log, 1)
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2"):
            stopping = threading.Thread(target=first.stop)
            stopping.start()
            until(lambda: shares(kafka, topics) == [4])
            quick = client.submit_many([NewJob("sleep", {}) for _ in range(100)])
            log.until_finished(quick)
            assert long not in log.finished
            log.until_finished([long])
            stopping.join(30)
        log.read(0.5)
    assert started_by(log, long) == ["w1"]
    assert set(log.outcomes.values()) == {1}


def test_jobs_of_one_ordering_key_do_not_overlap_when_their_partition_moves(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", threads=16):
        keys = [f"key-{number}" for number in range(12)]
        first = client.submit_many([NewJob("thread", {"seconds": 5}, ordering_key=key) for key in keys])
        second = client.submit_many([NewJob("sleep", {}, ordering_key=key) for key in keys])
        until_started(log, len(first))
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2"):
            log.until_finished([*first, *second])
        log.read(0.5)
    ended = {each.job_id: each.occurred_at for each in log.events if each.kind is EventKind.SUCCEEDED}
    began = {each.job_id: each.occurred_at for each in log.events if each.kind is EventKind.STARTED}
    assert all(ended[one] <= began[other] for one, other in zip(first, second, strict=True))
    assert "w2" in {worker for each in second for worker in started_by(log, each)}, "some keys moved"
    assert set(log.started.values()) == {1}
    assert set(log.outcomes.values()) == {1}


def test_a_job_that_outlasts_the_grace_period_starts_again_at_the_new_owner_with_one_outcome(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs, "w1", handover_grace_s=0.5):
        long = client.submit_many([NewJob("sleep", {"seconds": 5}) for _ in range(12)])
        until_started(log, len(long))
        with RunningWorker(kafka.bootstrap, topics, jobs, "w2", handover_grace_s=0.5):
            log.until_finished(long)
        log.read(0.5)
    again = [each for each in long if log.started[each] == 2]
    assert again
    assert {tuple(started_by(log, each)) for each in again} == {("w1", "w2")}
    assert set(log.outcomes.values()) == {1}
