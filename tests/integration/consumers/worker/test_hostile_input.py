"""What anybody may write to a lane costs nobody else anything."""

import time
from collections import Counter
from functools import partial

from confluent_kafka import KafkaError, Message, Producer

from millstream.consumers.worker import JobTypes
from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob, send_command
from millstream.schemas import (
    Action,
    Codec,
    Command,
    DeadLetter,
    DeadReason,
    EventKind,
    KafkaConnection,
    PinnedRegistry,
    Scope,
    TopicCatalogue,
)
from millstream.schemas.job_event import OUTCOMES
from tests.support.eventlog import EventLog, TopicReader
from tests.support.hostile_records import HostileRecord, hostile_records, of_newer_release, raw_request
from tests.support.raw_producer import produce_raw
from tests.support.running_worker import RunningWorker

jobs = JobTypes()
NOTHING_ANNOUNCED = Codec(PinnedRegistry(lambda: 0))


@jobs.job("noop")
async def noop(payload: bytes) -> None: ...


@jobs.job("fails")
async def fails(payload: bytes) -> None:
    raise ValueError("no good")


def test_hostile_records_among_good_jobs_are_dead_letters_or_outcomes_and_each_good_job_runs_once(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    records = [
        *hostile_records(),
        HostileRecord("schema that nobody announced", None, of_newer_release()),
        HostileRecord("key of 1.6 MB and nonsense", b"k" * 1_600_000, b"nonsense"),
        HostileRecord("key of 1.6 MB and a request", b"k" * 1_600_000, raw_request(), runs=True),
    ]
    # Each kind before and behind good jobs of one partition, and in another one.
    copies = [0, 1, 0]
    producer = Producer(KafkaConnection(kafka.bootstrap).producer(message_max_bytes=8_000_000))
    refused: list[str] = []
    good: list[str] = []
    with RunningWorker(kafka.bootstrap, topics, jobs, codec=NOTHING_ANNOUNCED, unknown_type_grace_s=0.0):
        for partition in copies:
            for each in records:
                producer.produce(
                    topics.lane("default"),
                    each.value,
                    each.key,
                    partition,
                    on_delivery=partial(note_refused, refused, each.name),
                )
            producer.flush()
            good += client.submit_many([NewJob("noop", b"", ordering_key=f"k{n % 5}") for n in range(100)])
        assert refused == []
        log.until_finished(good, within_s=60)
        dead = TopicReader(kafka.bootstrap, topics.dead)
        unreadable = len(copies) * sum(not each.runs for each in records)
        dead.until(lambda: Counter(reasons(dead))[DeadReason.UNREADABLE] >= unreadable)
        hostile_jobs = len(copies) * sum(each.runs for each in records)
        deadline = time.monotonic() + 60
        while sum(ends(log, "mallory").values()) < hostile_jobs:
            assert time.monotonic() < deadline, ends(log, "mallory")
            log.read()
        log.read(0.5)
        assert Counter(reasons(dead))[DeadReason.UNREADABLE] == unreadable
        dead.close()
    assert ends(log, "default") == dict.fromkeys(good, 1)
    # The same bytes are the same job id, which runs as often as it was written.
    assert set(ends(log, "mallory").values()) == {len(copies)}
    assert all(len(event.labels) <= 32 for event in log.events)


def note_refused(refused: list[str], name: str, error: KafkaError | None, _: Message) -> None:
    if error is not None:
        refused.append(f"{name}: {error}")


def reasons(reader: TopicReader) -> list[DeadReason]:
    return [letter.reason for letter in reader.decoded(DeadLetter)]


def ends(log: EventLog, tenant: str) -> Counter[str]:
    """How many outcomes each job of a tenant has."""
    final = [each for each in log.events if each.tenant == tenant and each.kind in OUTCOMES]
    assert all(each.final for each in final if each.kind is not EventKind.CANCELLED)
    return Counter(each.job_id for each in final)


def test_garbage_on_the_coordination_topics_is_counted_and_the_next_command_is_applied(
    kafka: Broker, topics: TopicCatalogue, client: JobClient, log: EventLog
) -> None:
    connection = KafkaConnection(kafka.bootstrap)
    producer = Producer(connection.producer())
    with RunningWorker(kafka.bootstrap, topics, jobs) as running:
        for topic in (topics.heartbeats, topics.commands):
            produce_raw(kafka.bootstrap, topic, b"value", b"\xff", {b"\xff\xfe": b"v", b"state": b"\xff"})
            for key in (b"", b"\xff", b"w1", b"k" * 900_000):
                producer.produce(topic, b"nonsense", key)
        produce_raw(kafka.bootstrap, topics.lane("default"), raw_request(), b"k", {b"\xff": b"v"})
        producer.flush()
        pause = Command(action=Action.PAUSE, scope=Scope.TENANT, target="globex")
        send_command(pause, connection, topics)
        good = client.submit_many([NewJob("noop", b"") for _ in range(20)])
        paused = client.submit("noop", b"", tenant="globex")
        log.until_finished(good)
        counted = running.worker.metrics._rejected
        deadline = time.monotonic() + 30
        while min(counted[topics.heartbeats,], counted[topics.commands,]) < 3:
            assert time.monotonic() < deadline, counted
            log.read()
        assert log.started[paused] == 0
    assert running.worker.status.restarts == 0
    assert [each.tenant for each in log.events if each.kind is EventKind.STARTED].count("mallory") == 1
