"""The worker on a real broker: every job runs, every attempt has one outcome, nothing stops a partition."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from pydantic import BaseModel

from millstream.consumers.worker import Drained, JobContext, JobTypes
from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import DeadLetter, DeadReason, EventKind, KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.support.brokers import set_largest_record
from tests.support.eventlog import EventLog, TopicReader
from tests.support.running_worker import RunningWorker


class Number(BaseModel):
    number: int


def handlers() -> JobTypes:
    jobs = JobTypes()

    @jobs.job("ok")
    async def ok(payload: Number) -> None: ...

    @jobs.job("plain")
    def plain(payload: Number) -> None:
        time.sleep(0.001)

    @jobs.job("slow")
    async def slow(payload: Number, context: JobContext) -> None:
        context.progress(0.5, "half way")
        await asyncio.sleep(0.3)

    @jobs.job("long")
    async def long(payload: Number) -> None:
        await asyncio.sleep(6)

    @jobs.job("raises")
    async def raises(payload: Number) -> None:
        raise ValueError(f"no good: {payload.number}")

    @jobs.job("exits")
    async def exits(payload: Number) -> None:
        raise SystemExit(3)

    @jobs.job("hangs", timeout_s=0.2)
    async def hangs(payload: Number) -> None:
        await asyncio.sleep(3600)

    @jobs.job("second-time-lucky")
    async def lucky(payload: Number, context: JobContext) -> None:
        if context.attempt == 1:
            raise ConnectionError("try again")

    return jobs


def test_every_job_runs_once_and_leaves_its_whole_story(any_broker: Broker, topic_prefix: str) -> None:
    topics = TopicCatalogue(topic_prefix, partitions=4)
    connection = KafkaConnection(any_broker.bootstrap)
    apply_topics(connection, topics)
    with JobClient(connection, topics) as jobs, RunningWorker(any_broker.bootstrap, topics, handlers()):
        ids = jobs.submit_many([NewJob(kind, {"number": n}) for n in range(300) for kind in ("ok", "plain")])
        log = EventLog(any_broker.bootstrap, topics.events)
        log.until_finished(ids)
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert set(log.started.values()) == {1}
    for job_id in ids[:20]:
        assert sorted(log.kinds_of(job_id)) == [EventKind.STARTED, EventKind.SUBMITTED, EventKind.SUCCEEDED]
    log.close()


def test_an_outcome_holds_every_dimension_and_measure_of_its_attempt(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(
        kafka.bootstrap, topics, handlers(), version="1.2.3", region="eu", instance_type="m6i.large", host="h1"
    ):
        job_id = client.submit("slow", {"number": 1}, tenant="acme", lane="high", labels={"team": "growth"})
        log.until_finished([job_id])
    assert log.kinds_of(job_id) == [EventKind.SUBMITTED, EventKind.STARTED, EventKind.PROGRESS, EventKind.SUCCEEDED]
    outcome = next(event for event in log.events if event.kind is EventKind.SUCCEEDED)
    assert (outcome.tenant, outcome.job_type, outcome.lane, outcome.source) == ("acme", "slow", "high", "tests")
    assert (outcome.worker_id, outcome.host, outcome.region) == ("w1", "h1", "eu")
    assert (outcome.instance_type, outcome.worker_version, outcome.labels) == ("m6i.large", "1.2.3", {"team": "growth"})
    assert outcome.final
    assert outcome.run_ms is not None and outcome.run_ms >= 300
    assert outcome.wait_ms is not None and outcome.cpu_ms is not None and outcome.max_rss_bytes
    assert outcome.started_at is not None and outcome.submitted_at <= outcome.started_at <= outcome.occurred_at
    assert outcome.request_partition >= 0 and outcome.request_offset >= 0
    started = next(event for event in log.events if event.kind is EventKind.STARTED)
    assert started.execution_id == outcome.execution_id is not None


def test_a_job_of_a_type_that_only_the_next_release_knows_waits_for_a_worker_of_that_release(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, handlers(), "old"):
        new = client.submit("new", {}, tenant="acme")
        after = client.submit("ok", {"number": 1}, tenant="acme")
        log.until_finished([after])
    both = handlers()
    both.job("new")(lambda: None)
    with RunningWorker(kafka.bootstrap, topics, both, "next"):
        log.until_finished([new])
    assert log.kinds_of(new) == [EventKind.SUBMITTED, EventKind.STARTED, EventKind.SUCCEEDED]


@pytest.mark.parametrize(
    ("job_type", "payload", "kind", "reason", "error"),
    [
        ("raises", {"number": 7}, EventKind.FAILED, DeadReason.FAILED, "ValueError: no good: 7"),
        ("exits", {"number": 7}, EventKind.FAILED, DeadReason.FAILED, "SystemExit: 3"),
        ("hangs", {"number": 7}, EventKind.TIMED_OUT, DeadReason.TIMED_OUT, "TimeoutError: still running after 0.2 s"),
        ("nobody.knows", {}, EventKind.FAILED, DeadReason.UNKNOWN_TYPE, "UnknownJobType: no handler for job type"),
        ("ok", {"number": "x"}, EventKind.FAILED, DeadReason.INVALID_PAYLOAD, "ValidationError: 1 validation error"),
    ],
)
def test_a_job_that_fails_is_dead_lettered_with_its_complete_cause(
    kafka: Broker,
    topics: TopicCatalogue,
    client: JobClient,
    log: EventLog,
    job_type: str,
    payload: dict[str, object],
    kind: EventKind,
    reason: DeadReason,
    error: str,
) -> None:
    with RunningWorker(kafka.bootstrap, topics, handlers(), unknown_type_grace_s=0):
        job_id = client.submit(job_type, payload, tenant="acme")
        after = client.submit("ok", {"number": 1}, tenant="acme")
        log.until_finished([job_id, after])
        dead = TopicReader(kafka.bootstrap, topics.dead)
        dead.until(lambda: len(dead.values) == 1)
    log.read(0.5)
    assert log.outcomes[job_id, 1] == 1
    assert kind in log.kinds_of(job_id) and EventKind.DEAD_LETTERED in log.kinds_of(job_id)
    letter = dead.decoded(DeadLetter)[0]
    assert (letter.job_id, letter.tenant, letter.job_type, letter.reason) == (job_id, "acme", job_type, reason)
    assert f"{letter.error_type}: {letter.error_message}".startswith(error)
    assert letter.record_value and letter.topic == topics.lane("default")
    dead.close()


def test_a_record_that_is_no_request_goes_to_the_dead_letters_and_stops_nothing(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    garbage = [b"", b"not ours", b"\x00\x7f\xff\xff\xffjunk", b"\x00\x00\x00\x00\x01\xff\xff\xff"]
    producer = Producer(KafkaConnection(kafka.bootstrap).producer())
    lane = topics.lane("default")
    ids = []
    for value in garbage:
        for partition in range(4):
            producer.produce(lane, value, b"key", partition)
        producer.flush()
        ids += client.submit_many([NewJob("ok", {"number": n}) for n in range(20)])
    producer.produce(lane, None, b"tombstone", 0)
    producer.flush()
    with RunningWorker(kafka.bootstrap, topics, handlers()):
        log.until_finished(ids)
        dead = TopicReader(kafka.bootstrap, topics.dead)
        dead.until(lambda: len(dead.values) == 4 * len(garbage) + 1)
    letters = dead.decoded(DeadLetter)
    assert {letter.reason for letter in letters} == {DeadReason.UNREADABLE}
    assert {letter.record_value for letter in letters} == {*garbage, None}
    assert all(letter.error_message for letter in letters)
    dead.close()


def test_a_job_is_tried_as_often_as_it_asks_for(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, handlers()):
        lucky = client.submit("second-time-lucky", {"number": 1}, max_attempts=3)
        hopeless = client.submit("raises", {"number": 1}, max_attempts=3)
        log.until_finished([lucky, hopeless])
    log.read(0.5)
    assert {attempt for job_id, attempt in log.outcomes if job_id == lucky} == {1, 2}
    assert {attempt for job_id, attempt in log.outcomes if job_id == hopeless} == {1, 2, 3}
    assert set(log.outcomes.values()) == {1}
    assert [event.final for event in log.events if event.job_id == hopeless and event.kind is EventKind.FAILED] == [
        False,
        False,
        True,
    ]


def test_a_job_past_its_deadline_is_not_begun(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    job_id = client.submit("ok", {"number": 1}, deadline=datetime.now(UTC) + timedelta(milliseconds=50))
    time.sleep(0.1)
    with RunningWorker(kafka.bootstrap, topics, handlers()):
        log.until_finished([job_id])
    outcome = next(event for event in log.events if event.kind is EventKind.TIMED_OUT)
    assert "deadline" in outcome.error_message


def test_draining_finishes_what_runs_and_commits_it(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    with RunningWorker(kafka.bootstrap, topics, handlers(), concurrency=5) as running:
        ids = client.submit_many([NewJob("slow", {"number": n}) for n in range(400)])
        while len(log.started) < 5:
            log.read()
        assert running.stop() is Drained.CLEAN
    log.read(1)
    begun = set(log.started)
    assert begun <= log.finished
    assert len(begun) < len(ids)
    with RunningWorker(kafka.bootstrap, topics, handlers(), "w2"):
        log.until_finished(ids)
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert all(log.started[job_id] == 1 for job_id in begun)


def test_what_finished_above_the_watermark_does_not_run_again_after_a_restart(kafka: Broker, topic_prefix: str) -> None:
    topics = TopicCatalogue(topic_prefix, partitions=1)
    connection = KafkaConnection(kafka.bootstrap)
    apply_topics(connection, topics)
    log = EventLog(kafka.bootstrap, topics.events)
    with JobClient(connection, topics) as client:
        slow = client.submit("long", {"number": 0})
        quick = client.submit_many([NewJob("ok", {"number": n}) for n in range(50)])
    with RunningWorker(kafka.bootstrap, topics, handlers(), drain_grace_s=0.0) as running:
        while len(log.finished) < 50:
            log.read(0.05)
        assert slow not in log.finished
        assert running.stop() is Drained.CUT_SHORT
    with RunningWorker(kafka.bootstrap, topics, handlers(), "w2"):
        log.until_finished([slow, *quick])
    log.read(0.5)
    assert log.started[slow] == 2
    assert all(log.started[job_id] == 1 for job_id in quick)
    assert set(log.outcomes.values()) == {1}
    log.close()


def test_offsets_are_committed_only_with_the_outcomes(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    ids = client.submit_many([NewJob("ok", {"number": n}) for n in range(100)])
    with RunningWorker(kafka.bootstrap, topics, handlers()):
        log.until_finished(ids)
    reader = Consumer(KafkaConnection(kafka.bootstrap).consumer(f"{topics.prefix}workers.default"))
    lane = [TopicPartition(topics.lane("default"), partition) for partition in range(4)]
    committed = sum(max(each.offset, 0) for each in reader.committed(lane, 10))
    ends = sum(reader.get_watermark_offsets(each, 10)[1] for each in lane)
    reader.close()
    assert committed == ends == 100


def test_two_workers_share_the_partitions_and_no_attempt_gets_two_outcomes(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    ids = client.submit_many([NewJob("ok", {"number": n}) for n in range(2000)])
    with RunningWorker(kafka.bootstrap, topics, handlers(), "w1"):
        ids += client.submit_many([NewJob("slow", {"number": n}) for n in range(200)])
        with RunningWorker(kafka.bootstrap, topics, handlers(), "w2"):
            ids += client.submit_many([NewJob("ok", {"number": n}) for n in range(2000)])
            log.until_finished(ids)
    log.read(0.5)
    assert set(log.outcomes.values()) == {1}
    assert {event.worker_id for event in log.events if event.kind is EventKind.SUCCEEDED} == {"w1", "w2"}


def test_a_dead_letter_that_its_topic_refuses_is_shortened_and_holds_nothing_up(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    set_largest_record(kafka.bootstrap, topics.dead, 4_000)
    dead = TopicReader(kafka.bootstrap, topics.dead)
    ids: list[str] = []

    def one_more_is_shortened() -> bool:
        # The broker takes a moment to refuse records. What is random is not compressed to less.
        padding = os.urandom(20_000).hex()
        ids.append(client.submit("raises", {"number": 1, "padding": padding}))
        ids.extend(client.submit_many([NewJob("ok", {"number": n}) for n in range(20)]))
        return any(letter.record_value is None for letter in dead.decoded(DeadLetter))

    with RunningWorker(kafka.bootstrap, topics, handlers()):
        dead.until(one_more_is_shortened)
        log.until_finished(ids)
    letter = next(letter for letter in dead.decoded(DeadLetter) if letter.record_value is None)
    assert letter.job_id in ids
    assert f"{letter.topic}[{letter.partition}]@{letter.offset}" in letter.error_message
    assert set(log.outcomes.values()) == {1}
    dead.close()
