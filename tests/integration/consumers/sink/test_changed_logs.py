"""Logs and commits that are not what a sink expects: no record is skipped, and what is missing is said and counted."""

import time

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from millstream.analytics.warehouse.pause import inserts_paused
from millstream.consumers.sink import Sink, SinkConfig
from millstream.consumers.sink.intent import Intent
from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.support.job_events import CODEC, life_of_jobs
from tests.support.retention import delete_records
from tests.support.rollups import counts
from tests.support.running_sink import running
from tests.support.waiting import until


@pytest.fixture
def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap)


@pytest.fixture
def admin(connection: KafkaConnection) -> AdminClient:
    return AdminClient(connection.client())


def write(connection: KafkaConnection, topics: TopicCatalogue, jobs: int, seed: int = 1) -> int:
    """Write the events of so many jobs to partition 0; returns how many."""
    producer = Producer(connection.producer())
    events = list(life_of_jobs(jobs, seed=seed))
    for key, value in events:
        producer.produce(topics.events, value, key, partition=0)
    assert producer.flush(30) == 0
    return len(events)


def delete_all(connection: KafkaConnection, topics: TopicCatalogue) -> None:
    delete_records(connection.bootstrap, [TopicPartition(topics.events, 0, OFFSET_END)])


def commit(connection: KafkaConnection, topics: TopicCatalogue, what: TopicPartition) -> None:
    consumer = Consumer(connection.consumer(topics.prefix))
    consumer.commit(offsets=[what], asynchronous=False)
    consumer.close()


def test_a_sink_that_starts_behind_the_log_says_and_counts_what_is_missing_and_goes_on(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    config = SinkConfig(group=topics.prefix)
    with running(Sink(connection, topics, clickhouse, CODEC, config)) as sink:
        first = write(connection, topics, 20)
        until(lambda: sink.status.rows_inserted == first)
        assert sink.status.records_missing == 0
    missing = write(connection, topics, 30, seed=2)
    delete_all(connection, topics)
    last = write(connection, topics, 10, seed=3)
    with capture_logs() as lines, running(Sink(connection, topics, clickhouse, CODEC, config)) as sink:
        until(lambda: sink.status.rows_inserted == last)
        assert sink.status.records_missing == missing
    (line,) = (each for each in lines if each["event"] == "offset_out_of_range")
    assert line["log_level"] == "error"
    assert (line["topic"], line["partition"], line["missing"]) == (topics.events, 0, missing)
    assert (line["committed"], line["log_start"]) == (first, first + missing)
    assert counts(clickhouse)["raw"] == counts(clickhouse)["distinct"] == first + last


def test_a_living_sink_that_retention_overtakes_inserts_what_it_has_read_and_goes_on(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    config = SinkConfig(group=topics.prefix, max_buffered_bytes=100_000)
    with running(Sink(connection, topics, clickhouse, CODEC, config)) as sink:
        written = write(connection, topics, 5)
        until(lambda: sink.status.rows_inserted == written)
        with inserts_paused(clickhouse, "tables repair"):
            for seed in range(2, 30):
                written += write(connection, topics, 100, seed)
            # Nothing is read any more, so that what is deleted was not fetched ahead.
            read = -1
            while read != sink.status.rows_read:
                read = sink.status.rows_read
                time.sleep(2)
            assert read < written
            delete_all(connection, topics)
            written += write(connection, topics, 5, seed=30)
        until(lambda: sink.status.records_missing > 0)
        until(lambda: sink.status.rows_inserted + sink.status.records_missing == written)
    print("read before:", read, "missing:", sink.status.records_missing, "written:", written)
    assert counts(clickhouse)["raw"] == counts(clickhouse)["distinct"] == written - sink.status.records_missing


def test_a_topic_that_is_made_again_under_a_living_sink_is_inserted_from_its_beginning(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client, admin: AdminClient
) -> None:
    with running(Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix))) as sink:
        first = write(connection, topics, 100)
        until(lambda: sink.status.rows_inserted == first)
        admin.delete_topics([topics.events])[topics.events].result(20)
        until(lambda: topics.events not in admin.list_topics(timeout=10).topics)
        apply_topics(connection, topics)
        second = write(connection, topics, 20, seed=2)
        until(lambda: sink.status.rows_inserted == first + second)
        third = write(connection, topics, 200, seed=3)
        until(lambda: sink.status.rows_inserted == first + second + third)
    assert counts(clickhouse)["raw"] == first + second + third


def test_a_commit_of_another_cluster_is_ignored_with_one_warning_and_no_record_is_skipped(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client
) -> None:
    """As after a tool that copies the text of commits, translates their offsets and leaves out their epochs."""
    written = write(connection, topics, 100)
    copied = Intent(1_000, 250_000).announcement("another cluster", topics.events, 0)
    commit(connection, topics, TopicPartition(topics.events, 0, 30, copied.metadata or ""))
    sink = Sink(connection, topics, clickhouse, CODEC, SinkConfig(group=topics.prefix))
    with capture_logs() as lines, running(sink):
        until(lambda: sink.status.rows_inserted == written - 30)
    assert [line["event"] for line in lines if line["log_level"] != "info"] == ["commit_metadata_ignored"]
    assert counts(clickhouse)["raw"] == counts(clickhouse)["distinct"] == written - 30
