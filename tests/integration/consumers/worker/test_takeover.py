"""Groups and logs that are not what a worker expects: nothing is lost, nothing runs again without need."""

import asyncio
import threading
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from millstream.consumers.worker import JobTypes, WorkerConfig
from millstream.consumers.worker.first_start import CommitMissing
from millstream.consumers.worker.worker import Worker
from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.integration.consumers.worker.handlers import Given, jobs
from tests.support.eventlog import EventLog
from tests.support.lane_reader import ends, places_of_jobs
from tests.support.retention import delete_records
from tests.support.running_worker import RunningWorker
from tests.support.waiting import eventually, until


def finish(client: JobClient, log: EventLog, count: int = 40, **fields: Any) -> list[str]:
    ids = client.submit_many([NewJob("sleep", {}, **fields) for _ in range(count)])
    log.until_finished(ids)
    return ids


def delete_below(broker: Broker, topic: str, offsets: dict[int, int]) -> None:
    """What retention does: delete the records of each partition below an offset."""
    places = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
    delete_records(broker.bootstrap, places)


def finished_of(log: EventLog, job_ids: list[str]) -> set[str]:
    """Those of these jobs that have ended by now."""
    log.read()
    return log.finished & set(job_ids)


def started(log: EventLog) -> int:
    """How many jobs have started by now."""
    log.read()
    return len(log.started)


def test_a_renamed_group_is_refused_and_names_the_ways_out(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs):
        finish(client, log)
    renamed = WorkerConfig(worker_id="w2", group=f"{topics.prefix}renamed")
    worker = Worker(KafkaConnection(kafka.bootstrap), topics, renamed, jobs)
    with pytest.raises(CommitMissing, match=r"WITHOUT_COMMIT=latest"):
        worker.run()
    log.read(1)
    assert set(log.started.values()) == {1}


def test_a_renamed_group_that_starts_at_the_end_runs_only_new_jobs(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, jobs):
        finish(client, log)
    with RunningWorker(kafka.bootstrap, topics, jobs, group=f"{topics.prefix}renamed", without_commit="latest"):
        finish(client, log)
    log.read(0.5)
    assert set(log.started.values()) == {1}
    assert len(log.finished) == 80


def open_transaction(kafka: Broker, topics: TopicCatalogue) -> Producer:
    """A producer whose transaction, which commits an offset of the first partition of `default`, stays open."""
    connection = KafkaConnection(kafka.bootstrap)
    producer = Producer(connection.producer(transactional_id=f"{topics.prefix}open", transaction_timeout_ms=60_000))
    producer.init_transactions(20)
    producer.begin_transaction()
    outsider = Consumer(connection.consumer(f"{topics.prefix}workers.default"))
    metadata = outsider.consumer_group_metadata()
    outsider.close()
    producer.send_offsets_to_transaction([TopicPartition(topics.lane("default"), 0, 0)], metadata, 20)
    return producer


def test_jobs_that_were_submitted_before_the_first_worker_ever_started_all_run(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    ids = client.submit_many([NewJob("sleep", {}) for _ in range(40)])
    with RunningWorker(kafka.bootstrap, topics, jobs):
        log.until_finished(ids)


def test_an_open_transaction_on_one_partition_holds_up_no_other(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    lane, producer = topics.lane("default"), open_transaction(kafka, topics)
    with RunningWorker(kafka.bootstrap, topics, jobs) as running:
        high = finish(client, log, lane="high")
        status = running.worker.status
        until(lambda: set(status.held_back) == {f"{lane}[0]"})
        ids = client.submit_many([NewJob("sleep", {}) for _ in range(40)])
        while len(log.finished & set(ids)) < 20:
            log.read()
        assert not set(ids) <= log.finished, "those of the partition that is held back wait"
        producer.abort_transaction(20)
        log.until_finished(ids)
        until(lambda: not status.held_back)
    assert set(log.outcomes.values()) == {1}
    assert len(high) == 40


def test_a_topic_that_is_deleted_and_made_again_under_a_worker_loses_no_job_of_the_new_one(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    lane = topics.lane("default")
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    with capture_logs() as lines, RunningWorker(kafka.bootstrap, topics, jobs):
        finish(client, log, count=400)
        admin.delete_topics([lane])[lane].result(20)
        until(lambda: lane not in admin.list_topics(timeout=10).topics)
        apply_topics(KafkaConnection(kafka.bootstrap), topics)
        with JobClient(KafkaConnection(kafka.bootstrap), topics) as again:
            ids = again.submit_many([NewJob("sleep", {}) for _ in range(100)])
            log.until_finished(ids)
            more = again.submit_many([NewJob("sleep", {}) for _ in range(1_000)])
            log.until_finished(more)
    assert set(log.outcomes.values()) == {1}
    assert {line["topic"] for line in lines if line["event"] == "log_changed"} == {lane}


@pytest.mark.parametrize("unfinished", [0, 1], ids=["all finished", "one unfinished"])
def test_retention_that_overtakes_a_stopped_workers_commit_skips_no_job_that_is_left_and_counts_the_others(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog, unfinished: int
) -> None:
    lane = topics.lane("default")
    with RunningWorker(kafka.bootstrap, topics, jobs, drain_grace_s=0):
        held = client.submit_many([NewJob("sleep", {"seconds": 60}, ordering_key="held")] * unfinished)
        finish(client, log)
    before = ends(kafka.bootstrap, lane)
    waiting = client.submit_many([NewJob("sleep", {}) for _ in range(200)])
    lows = {number: (before[number] + high) // 2 for number, high in ends(kafka.bootstrap, lane).items()}
    delete_below(kafka, lane, lows)
    deleted = sum(lows[number] - before[number] for number in lows)
    with capture_logs() as lines, RunningWorker(kafka.bootstrap, topics, jobs) as again:
        left = eventually(lambda: finished_of(log, waiting), lambda found: len(found) >= 200 - deleted)
        finish(client, log)
        assert again.worker.metrics.missing == deleted + unfinished
    assert len(left) == len(finished_of(log, waiting)) == 200 - deleted
    assert not set(held) & log.finished
    assert set(log.outcomes.values()) == {1}
    told = [line for line in lines if line["event"] == "offset_out_of_range"]
    assert sum(line["missing"] for line in told) == deleted + unfinished
    assert {line["topic"] for line in told} == {lane}
    with RunningWorker(kafka.bootstrap, topics, jobs) as third:
        finish(client, log)
        assert third.worker.metrics.missing == 0, "it is counted once"


def test_retention_that_overtakes_a_living_worker_skips_no_job_that_is_left_and_is_told(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    lane, own, opened = topics.lane("default"), JobTypes(), threading.Event()

    @own.job("held")
    async def held(given: Given) -> None:
        while not opened.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.02)

    @own.job("sleep")
    async def sleep(given: Given) -> None:
        await asyncio.sleep(given.seconds)

    with (
        capture_logs() as lines,
        RunningWorker(kafka.bootstrap, topics, own, concurrency=4, limit="fixed", admission_jobs=20) as running,
    ):
        # Four of them run and the others fill what is admitted, so that nothing behind them is taken.
        client.submit_many([NewJob("held", {}) for _ in range(40)])
        eventually(lambda: started(log), lambda count: count == 4)
        waiting = client.submit_many([NewJob("sleep", {}) for _ in range(3_000)])
        highs = ends(kafka.bootstrap, lane)
        delete_below(kafka, lane, {number: high - 50 for number, high in highs.items()})
        places = places_of_jobs(kafka.bootstrap, lane)
        left = [each for each in waiting if each in places]
        assert 0 < len(left) <= 200
        opened.set()
        log.until_finished(left)
        more = finish(client, log, count=100)
        assert running.worker.metrics.missing > 0
    assert set(log.outcomes.values()) == {1}
    assert set(more) <= log.finished
    events = {line["event"] for line in lines}
    assert {"log_changed", "offset_out_of_range"} <= events


def test_a_stop_ends_a_worker_whose_partition_is_held_back(kafka: Broker, topics: TopicCatalogue) -> None:
    producer = open_transaction(kafka, topics)
    running = RunningWorker(kafka.bootstrap, topics, jobs)
    running.start()
    until(lambda: bool(running.worker.status.held_back))
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()
    producer.abort_transaction(20)
