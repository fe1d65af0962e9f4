"""The sink on a real broker and a real ClickHouse engine."""

import threading
from functools import partial
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition

from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.consumers.sink import Sink, SinkConfig
from millstream.consumers.sink.intent import Intent, UnknownIntent
from millstream.consumers.sink.sources import LOW_VOLUME
from millstream.local.broker import Broker
from millstream.schemas import (
    Codec,
    DeadLetter,
    DeadReason,
    JobRequest,
    KafkaConnection,
    PinnedRegistry,
    TopicCatalogue,
)
from millstream.schemas.registry import Schema, pinned_schemas
from tests.support.job_events import CODEC, life_of_jobs
from tests.support.rollups import counts
from tests.support.running_sink import running, sink_process
from tests.support.waiting import eventually, until

BROKEN = [
    None,
    b"",
    b"not in the wire format",
    b"\x00\x7f\xff\xff\xffan unknown schema",
    CODEC.encode(JobRequest(tenant="t", job_type="j")),
]


@pytest.fixture
def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap)


def has_inserted(sink: Sink) -> bool:
    return sink.status.rows_inserted > 0


def committed_events(connection: KafkaConnection, topics: TopicCatalogue) -> set[tuple[int, int]]:
    """What an independent read_committed reader finds: (partition, offset) of each event."""
    consumer = Consumer(connection.consumer(f"{topics.prefix}independent", enable_partition_eof=True))
    consumer.assign([TopicPartition(topics.events, number, 0) for number in range(4)])
    found: set[tuple[int, int]] = set()
    ended = 0
    while ended < 4:
        for message in consumer.consume(5000, 0.2):
            partition, offset = message.partition(), message.offset()
            if message.error() is None and partition is not None and offset is not None:
                found.add((partition, offset))
            else:
                ended += 1
    consumer.close()
    return found


def dead_letters(connection: KafkaConnection, topics: TopicCatalogue) -> list[DeadLetter]:
    consumer = Consumer(connection.consumer(f"{topics.prefix}dead", enable_partition_eof=True))
    consumer.assign([TopicPartition(topics.dead, number, 0) for number in range(4)])
    found, ended = [], 0
    while ended < 4:
        for message in consumer.consume(500, 0.2):
            if message.error() is None:
                found.append(CODEC.decode(message.value(), DeadLetter))
            else:
                ended += 1
    consumer.close()
    return found


def group_offsets(connection: KafkaConnection, topics: TopicCatalogue) -> dict[int, TopicPartition]:
    consumer = Consumer(connection.consumer(topics.prefix))
    found = consumer.committed([TopicPartition(topics.events, number) for number in range(4)], timeout=10)
    consumer.close()
    return {part.partition: part for part in found}


def announce(
    connection: KafkaConnection, topics: TopicCatalogue, start: int, end: int, by_release_before: bool = False
) -> None:
    """Leave behind what a sink does that dies before the batch [start, end) of partition 0 is acknowledged."""
    consumer = Consumer(connection.consumer(topics.prefix))
    cluster_id = str(consumer.list_topics(timeout=10).cluster_id)
    announced = Intent(start, end).announcement(cluster_id, topics.events, 0)
    if by_release_before:
        announced = TopicPartition(topics.events, 0, start, f"v1 until={end}")
    consumer.commit(offsets=[announced], asynchronous=False)
    consumer.close()


def in_clickhouse(client: Client) -> set[tuple[int, int]]:
    return {
        (row[0], row[1]) for row in client.query("SELECT kafka_partition, kafka_offset FROM job_events").result_rows
    }


STATISTICS_WITHOUT_END = (
    "import sys; from millstream.consumers.sink import sink; sink.BROKERS_INTERVAL_MS = 1;"
    "from millstream.cli import main; main()"
)
"""A sink whose statistics wait for it whenever it has done something else."""


def test_statistics_that_come_while_partitions_are_assigned_end_no_process(
    kafka: Broker, topics: TopicCatalogue, clickhouse_url: str, clickhouse: Client, tmp_path: Path
) -> None:
    database = str(clickhouse.database)
    sink = sink_process(
        kafka.bootstrap,
        topics,
        clickhouse_url,
        tmp_path,
        program=("-c", STATISTICS_WITHOUT_END),
        MILLSTREAM_CLICKHOUSE__DATABASE=database,
    )
    with sink:
        until(lambda: not sink.is_alive() or sink.tail.count("partitions_assigned") > len(LOW_VOLUME))
        assert sink.stop() == 0, sink.tail


def test_what_is_committed_arrives_once_and_what_is_aborted_never(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    producer = Producer(connection.producer(transactional_id=f"{topics.prefix}writer"))
    producer.init_transactions()
    with running(Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix, max_rows=700))) as sink:
        for turn in range(12):
            producer.begin_transaction()
            for key, value in life_of_jobs(150, seed=turn):
                producer.produce(topics.events, value, key)
            if turn % 3 == 1:
                producer.flush()
                producer.abort_transaction()
            else:
                producer.commit_transaction()
        until(lambda: sink.status.rows_inserted >= 8 * 450)
    expected = committed_events(connection, topics)
    found = counts(clickhouse)
    print("read_committed reader:", len(expected), "ClickHouse:", found)
    assert len(expected) == 8 * 450
    assert in_clickhouse(clickhouse) == expected
    assert found["raw"] == found["distinct"] == len(expected)
    assert found["attempts"] == found["outcomes"] == 8 * 150
    assert disagreements(clickhouse) == []


def test_broken_records_go_to_the_dead_letters_and_everything_else_arrives(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    events = list(life_of_jobs(60))
    long, short = events[0][1] + b"\x00", events[1][1][:-4]
    damaged = [*BROKEN, long, short]
    producer = Producer(connection.producer())
    for number, (key, value) in enumerate(events):
        producer.produce(topics.events, value, key, partition=2)
        if number % 20 == 7:
            for broken in damaged:
                producer.produce(topics.events, broken, key, partition=2)
    producer.flush()
    times = len([number for number in range(len(events)) if number % 20 == 7])
    with running(Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix))) as sink:
        until(lambda: sink.status.rows_inserted >= len(events) and sink.status.dead_records >= len(damaged) * times)
    assert counts(clickhouse)["raw"] == counts(clickhouse)["distinct"] == len(events)
    letters = dead_letters(connection, topics)
    assert len(letters) == len(damaged) * times
    assert {letter.reason for letter in letters} == {DeadReason.SINK_UNREADABLE}
    assert {letter.record_value for letter in letters} == set(damaged)
    assert all(letter.error_message and letter.topic == topics.events and letter.partition == 2 for letter in letters)
    everything = {(2, letter.offset) for letter in letters} | in_clickhouse(clickhouse)
    assert everything == committed_events(connection, topics)
    assert disagreements(clickhouse) == []


@pytest.mark.parametrize("by_release_before", [False, True])
@pytest.mark.parametrize("inserted_before", [True, False])
def test_an_announced_batch_is_inserted_again_as_it_was(
    connection: KafkaConnection,
    topics: TopicCatalogue,
    clickhouse: Client,
    inserted_before: bool,
    by_release_before: bool,
) -> None:
    """As after a crash: before or after the insert, but before its acknowledgement."""
    producer = Producer(connection.producer())
    for key, value in life_of_jobs(200):
        producer.produce(topics.events, value, key, partition=0)
    producer.flush()
    if inserted_before:
        with running(
            Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix, max_rows=600))
        ) as sink:
            until(lambda: sink.status.rows_inserted == 600)
    else:
        # Another group has the table filled up to here, so only [350, 600) is new.
        with running(Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=f"{topics.prefix}x", max_rows=600))):
            until(lambda: counts(clickhouse)["raw"] == 600)
        clickhouse.command("TRUNCATE TABLE job_events")
    start = 0 if inserted_before else 350
    announce(connection, topics, start, 600, by_release_before)
    for key, value in life_of_jobs(10, seed=2):
        producer.produce(topics.events, value, key, partition=0)
    producer.flush()
    with running(Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix, max_rows=100))) as sink:
        until(lambda: sink.status.rows_inserted >= 600 - start + 30)
        assert sink.status.repeated_batches == 1
    found = counts(clickhouse)
    assert found["raw"] == found["distinct"] == 630 - start
    if inserted_before:
        assert disagreements(clickhouse) == []


def test_an_announced_range_is_read_to_its_end_where_less_may_be_buffered(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    producer = Producer(connection.producer())
    for key, value in life_of_jobs(4000):
        producer.produce(topics.events, value, key, partition=0)
    producer.flush()
    announce(connection, topics, 0, 12_000)
    config = SinkConfig(group=topics.prefix, max_buffered_bytes=100_000)
    with running(Sink(connection, topics, clickhouse, CODEC, config)) as sink:
        until(lambda: sink.status.rows_inserted == 12_000)
        assert sink.status.batches == 1


def test_a_quiet_partition_has_its_last_batch_acknowledged(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    producer = Producer(connection.producer())
    for key, value in life_of_jobs(5):
        producer.produce(topics.events, value, key, partition=1)
    producer.flush()
    with running(Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix, acknowledge_after_s=0.2))):
        until(
            lambda: (
                (group_offsets(connection, topics)[1].offset, group_offsets(connection, topics)[1].metadata)
                in [(15, None), (15, "")]
            )
        )


def test_foreign_metadata_stops_the_sink_instead_of_losing_or_doubling_events(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    consumer = Consumer(connection.consumer(topics.prefix))
    consumer.commit(offsets=[TopicPartition(topics.events, 0, 3, "something else")], asynchronous=False)
    consumer.close()
    with pytest.raises(UnknownIntent, match="something else"):
        Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix)).run(threading.Event())


def test_members_that_come_and_go_lose_and_double_nothing(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    producer = Producer(connection.producer())
    sent = 0
    config = SinkConfig(group=topics.prefix, max_rows=200, min_age_s=0.02)

    def send(jobs: int) -> None:
        nonlocal sent
        for key, value in life_of_jobs(jobs, seed=sent):
            producer.produce(topics.events, value, key)
            sent += 1
        producer.flush()

    def has_inserted_of_more(sink: Sink) -> bool:
        """What comes before it has partitions the other sink may insert alone."""
        send(200)
        return has_inserted(sink)

    with running(Sink(connection, topics, clickhouse, CODEC, config)) as first:
        send(800)
        until(lambda: first.status.rows_inserted > 0)
        for _ in range(2):
            with running(Sink(connection, topics, clickhouse, CODEC, config)) as second:
                eventually(partial(has_inserted_of_more, second), bool, every_s=0.5)
                send(200)
        until(lambda: counts(clickhouse)["raw"] >= sent)
    found = counts(clickhouse)
    print("sent:", sent, "ClickHouse:", found)
    assert found["raw"] == found["distinct"] == sent
    assert in_clickhouse(clickhouse) == committed_events(connection, topics)
    assert disagreements(clickhouse) == []


def test_records_of_a_newer_release_wait_for_a_sink_that_can_read_them(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    newer_id = max(pinned_schemas()) + 1

    class NextRelease(PinnedRegistry):
        """Knows one schema more: the events' under a new id."""

        def schema_of(self, schema_id: int) -> Schema:
            return super().schema_of(self.id_of("JobEvent") if schema_id == newer_id else schema_id)

    def newer(value: bytes) -> bytes:
        return b"\0" + newer_id.to_bytes(4) + value[5:]

    events = list(life_of_jobs(40))
    producer = Producer(connection.producer())
    for number, (key, value) in enumerate(events):
        producer.produce(topics.events, newer(value) if number % 50 == 20 else value, key, partition=number % 2)
    producer.flush()
    # Odd numbers lie in partition 1; the first number of a newer event, 20, is the eleventh of partition 0.
    before = 60 + 10
    config = SinkConfig(group=topics.prefix)
    with running(Sink(connection, topics, clickhouse, CODEC, config)) as sink:
        until(lambda: sink.status.rows_inserted == before and 0 in sink.status.held)
        assert "schema id" in sink.status.held[0] and sink.status.dead_records == 0
    with running(Sink(connection, topics, clickhouse, Codec(NextRelease()), config)) as sink:
        until(lambda: sink.status.rows_inserted == len(events) - before)
        assert sink.status.held == {} and sink.status.dead_records == 0
    found = counts(clickhouse)
    assert found["raw"] == found["distinct"] == len(events)
    assert disagreements(clickhouse) == []
