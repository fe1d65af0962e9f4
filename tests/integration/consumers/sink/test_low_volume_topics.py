"""Heartbeats, alerts, dead letters and changes take the events' way into ClickHouse: once each, rollups included."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.consumers.sink import LOW_VOLUME, Sink, SinkConfig, run_together
from millstream.consumers.sink.all_sinks import all_sinks
from millstream.consumers.sink.intent import UnknownIntent
from millstream.local.broker import Broker
from millstream.schemas import (
    Alert,
    Change,
    DeadLetter,
    DeadReason,
    Heartbeat,
    InFlight,
    KafkaConnection,
    Record,
    TopicCatalogue,
)
from millstream.schemas.alert import AlertKind
from millstream.schemas.change import ChangeKind
from millstream.schemas.ids import new_id
from tests.support.job_events import CODEC, life_of_jobs

FIRST = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.fixture
def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap)


@contextmanager
def together(sinks: list[Sink]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_together, args=(sinks, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def heartbeats() -> list[Heartbeat]:
    return [
        Heartbeat(
            worker_id=f"worker-{number % 2}",
            occurred_at=FIRST + timedelta(seconds=number // 2),
            host="host-1",
            instance_type="m5.large",
            lanes=["high", "default"],
            capacity=10,
            busy=number % 10,
            in_flight=[InFlight(job_id=new_id(), attempt=1, since=FIRST)] * (number % 3),
            cpu_percent=50.0 + number % 7,
            rss_bytes=1_000_000 + number,
            memory_limit_bytes=None if number % 2 else 2_000_000_000,
        )
        for number in range(300)
    ]


def test_every_quiet_topic_arrives_once_with_every_field(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    records: dict[str, Sequence[Record]] = {
        topics.heartbeats: heartbeats(),
        topics.alerts: [
            Alert(fingerprint=f"f{n}", kind=AlertKind.STUCK_JOB, opened_at=FIRST, labels={"n": str(n)})
            for n in range(20)
        ],
        topics.dead: [
            DeadLetter(
                job_id=new_id(), tenant="acme", reason=DeadReason.FAILED, occurred_at=FIRST, topic="t", partition=1,
                offset=n, record_value=bytes([n, 255]), record_key=None,
            )
            for n in range(20)
        ],
        topics.changes: [Change(kind=ChangeKind.DEPLOY, service="api", occurred_at=FIRST) for _ in range(20)],
    }  # fmt: skip
    producer = Producer(connection.producer())
    for topic, some in records.items():
        for record in some:
            producer.produce(topic, CODEC.encode(record))
    for key, value in life_of_jobs(20):
        producer.produce(topics.events, value, key)
    producer.flush()
    sinks = all_sinks(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix, revoke_grace_s=10))
    with together(sinks):
        deadline = time.monotonic() + 40
        while [sink.status.rows_inserted for sink in sinks] != [60, 300, 20, 20, 20]:
            assert time.monotonic() < deadline, [(sink.source.record, sink.status.rows_inserted) for sink in sinks]
            time.sleep(0.1)
    for source in LOW_VOLUME:
        rows, distinct = clickhouse.query(
            f"SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM {source.table}"
        ).result_rows[0]
        assert rows == distinct == len(records[source.topic(topics)])
    assert disagreements(clickhouse) == []
    usage = clickhouse.query(
        "SELECT worker_id, sum(up_s), sum(capacity_s), max(memory_limit_bytes) FROM worker_usage GROUP BY 1 ORDER BY 1"
    ).result_rows
    assert usage == [("worker-0", 150, 1500.0, 2_000_000_000), ("worker-1", 150, 1500.0, 0)]
    letter = clickhouse.query(
        "SELECT record_key, hex(record_value), topic, partition FROM dead_letters WHERE offset = 7"
    ).result_rows
    assert letter == [(None, "07FF", "t", 1)]
    heartbeat = clickhouse.query(
        "SELECT lanes, length(in_flight), in_flight.since[1] FROM worker_heartbeats "
        "WHERE busy = 8 AND length(in_flight) = 2 LIMIT 1",
        query_tz="UTC",
        tz_mode="aware",
    )
    assert heartbeat.result_rows == [(["high", "default"], 2, FIRST)]


def test_a_dead_letter_that_cannot_be_read_makes_no_further_dead_letter(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    producer = Producer(connection.producer())
    producer.produce(topics.dead, b"not in the wire format", partition=0)
    good = DeadLetter(reason=DeadReason.UNREADABLE, topic="t", partition=0, offset=0)
    producer.produce(topics.dead, CODEC.encode(good), partition=0)
    producer.flush()
    source = next(each for each in LOW_VOLUME if each.record == "DeadLetter")
    sink = Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix), source)
    with together([sink]):
        deadline = time.monotonic() + 40
        while (sink.status.rows_inserted, sink.status.dead_records) != (1, 1):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(0.5)
    assert (sink.status.rows_read, sink.status.rows_inserted) == (2, 1)


def test_a_sink_that_fails_stops_the_others_and_its_error_is_reported(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(connection.consumer(f"{topics.prefix}-alerts"))
    consumer.commit(offsets=[TopicPartition(topics.alerts, 0, 3, "something else")], asynchronous=False)
    consumer.close()
    sinks = all_sinks(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix))
    with pytest.raises(UnknownIntent, match="something else"):
        run_together(sinks, threading.Event())
