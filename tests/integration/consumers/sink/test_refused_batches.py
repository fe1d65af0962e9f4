"""Batches that a real ClickHouse engine has not the memory for, on a real broker: inserted in parts, each row once."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import Producer

from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.consumers.sink import Sink, SinkConfig
from millstream.consumers.sink.health import not_live, not_ready
from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.job_events import CODEC, life_of_jobs
from tests.support.rollups import counts
from tests.support.running_sink import running
from tests.support.waiting import until

EVENTS = 900


class ShortOfMemory:
    """A client of a server that refuses inserts of more than `most_bytes`. `lies`: so many of them it does, and then
    says that it refused them."""

    def __init__(self, client: Client, most_bytes: int, lies: int = 0) -> None:
        self.client = client
        self.most_bytes = most_bytes
        self.lies = lies

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def raw_insert(self, table: str, columns: Any, block: bytes, **more: Any) -> Any:
        if len(block) <= self.most_bytes:
            return self.client.raw_insert(table, columns, block, **more)
        if self.lies and table.endswith("_landing"):
            self.lies -= 1
            self.client.raw_insert(table, columns, block, **more)
        raise DatabaseError("Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", code=241)


@pytest.fixture
def connection(kafka: Broker, topics: TopicCatalogue) -> KafkaConnection:
    """Of a broker with events in one partition."""
    connection = KafkaConnection(kafka.bootstrap)
    producer = Producer(connection.producer())
    for key, value in life_of_jobs(EVENTS // 3):
        producer.produce(topics.events, value, key, partition=0)
    producer.flush()
    return connection


def sink_of(connection: KafkaConnection, topics: TopicCatalogue, client: Any, max_rows: int) -> Sink:
    return Sink(connection, topics, client, CODEC, SinkConfig(group=topics.prefix, max_rows=max_rows, min_age_s=1))


def test_a_range_that_was_refused_as_a_whole_is_inserted_in_parts_by_the_next_owner_and_each_row_is_there_once(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    with running(sink_of(connection, topics, ShortOfMemory(clickhouse, 20_000), EVENTS)) as sink:
        until(lambda: sink.status.cut_batches > 0)
    with running(sink_of(connection, topics, ShortOfMemory(clickhouse, 60_000), 100)) as sink:
        until(lambda: counts(clickhouse)["raw"] >= EVENTS and not sink.status.refused)
        until(lambda: not not_ready({topics.events: sink.status}, sink.status.polled_at))
        assert not_live({topics.events: sink.status}, sink.status.polled_at) == []
        assert sink.status.repeated_batches == 1
    found = counts(clickhouse)
    assert found["raw"] == found["distinct"] == EVENTS
    assert disagreements(clickhouse) == []


def test_a_batch_that_was_inserted_though_the_answer_was_an_error_is_not_inserted_in_parts_too(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    client = ShortOfMemory(clickhouse, 60_000, lies=1)
    with running(sink_of(connection, topics, client, EVENTS)) as sink:
        until(lambda: bool(sink.status.refused))
        assert sink.status.cut_batches == 0
        client.most_bytes = 10**9
        until(lambda: sink.status.rows_inserted == EVENTS)
    found = counts(clickhouse)
    assert found["raw"] == found["distinct"] == EVENTS
    assert disagreements(clickhouse) == []
