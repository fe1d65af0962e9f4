"""The sink or ClickHouse is killed while events arrive: each event is in ClickHouse exactly once."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition

from millstream.analytics import connect, migrate
from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.consumers.sink import Sink, SinkConfig
from millstream.local.broker import Broker
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.ports import free_port
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.job_events import CODEC, many_events
from tests.support.rollups import counts
from tests.support.running_sink import sink_process
from tests.support.scenarios import Scenario, lengths
from tests.support.waiting import eventually

EVENTS = 60_000

SINK = """
import sys, threading
from millstream.analytics import connect
from millstream.consumers.sink import Sink, SinkConfig
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
bootstrap, url, database, prefix = sys.argv[1:]
config = SinkConfig(group=prefix, max_rows=1500, min_age_s=0.02, instance_id="one")
client = connect(url, database=database)
Sink(KafkaConnection(bootstrap), TopicCatalogue(prefix, partitions=4), client, Codec(), config).run(threading.Event())
"""


def produce(kafka: Broker, topics: TopicCatalogue, seconds: float) -> threading.Thread:
    """Sends EVENTS events in transactions over about `seconds`; every tenth transaction is aborted and sent again."""
    events = many_events(EVENTS)

    def run() -> None:
        producer = Producer(
            KafkaConnection(kafka.bootstrap).producer(
                transactional_id=topics.prefix, queue_buffering_max_messages=10**6
            )
        )
        producer.init_transactions()
        size = 2000
        for turn, at in enumerate(range(0, EVENTS, size)):
            for aborted in [True, False] if turn % 10 == 3 else [False]:
                producer.begin_transaction()
                for key, value in events[at : at + size]:
                    producer.produce(topics.events, value, key)
                if aborted:
                    producer.flush()
                    producer.abort_transaction()
                else:
                    producer.commit_transaction()
            time.sleep(seconds * size / EVENTS)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def committed_events(kafka: Broker, topics: TopicCatalogue) -> int:
    """What an independent read_committed reader counts."""
    consumer = Consumer(KafkaConnection(kafka.bootstrap).consumer("independent", enable_partition_eof=True))
    consumer.assign([TopicPartition(topics.events, number, 0) for number in range(4)])
    found = ended = 0
    while ended < 4:
        for message in consumer.consume(10_000, 0.2):
            found, ended = (found + 1, ended) if message.error() is None else (found, ended + 1)
    consumer.close()
    return found


def wait_for_rows(client: Client, rows: int, seconds: float = 180) -> None:
    """Until so many events are inserted; of all, until what the views write of them is there as well."""
    deadline = time.monotonic() + seconds
    while (found := counts(client))["raw"] < rows or (rows == EVENTS and not rollups_agree(found)):
        assert time.monotonic() < deadline, f"{found} of {rows}"
        time.sleep(0.2)


def rollups_agree(found: dict[str, int]) -> bool:
    ended = found["outcomes"] == found["attempts"] == found["latency"] == found["cost"]
    return ended and found["throughput"] == found["raw"]


def assert_exactly_once(
    kafka: Broker, topics: TopicCatalogue, client: Client, scenario: Scenario, **more: object
) -> None:
    expected = committed_events(kafka, topics)
    found = counts(client)
    lost, doubled = expected - found["distinct"], found["raw"] - found["distinct"]
    scenario.figures(committed=expected, inserted=found["raw"], lost=lost, doubled=doubled, **more)
    assert expected == EVENTS
    assert found["raw"] == found["distinct"] == expected
    assert rollups_agree(found)
    problems = disagreements(client)
    assert problems == [], "\n".join(problems)


def said(log: Path, event: str) -> int:
    """How many lines of the log name this event."""
    return log.read_text().count(event)


@lengths("kills_at_least", short=4, full=30)
def test_a_sink_killed_again_and_again_loses_and_doubles_nothing(
    kafka: Broker,
    topics: TopicCatalogue,
    clickhouse: Client,
    clickhouse_url: str,
    tmp_path: Path,
    scenario: Scenario,
    kills_at_least: int,
) -> None:
    draw = random.Random(os.urandom(8))
    command = [sys.executable, "-c", SINK, kafka.bootstrap, clickhouse_url, str(clickhouse.database), topics.prefix]
    writing = produce(kafka, topics, seconds=8 * kills_at_least / 6)
    path = tmp_path / "sink.log"
    log = path.open("w")
    kills = 0

    def inserting() -> bool:
        return said(path, "partitions_assigned") > kills

    while True:
        sink = subprocess.Popen(command, stdout=log, stderr=log)
        if kills >= kills_at_least and not writing.is_alive():
            break
        eventually(inserting, bool)
        time.sleep(draw.uniform(0.05, 1.0))
        sink.kill()
        sink.wait()
        kills += 1
        scenario.progress(f"kill {kills}, at least {kills_at_least}")
    try:
        wait_for_rows(clickhouse, EVENTS)
    finally:
        sink.terminate()
        sink.wait()
        writing.join()
    repeated = said(path, "batch_repeated")
    assert repeated > 0, "no kill hit a batch in flight, so the test has shown nothing"
    assert_exactly_once(kafka, topics, clickhouse, scenario, kills=kills, repeated_batches=repeated)


@lengths("kills", short=1, full=8)
def test_a_clickhouse_killed_and_started_again_loses_and_doubles_nothing(
    kafka: Broker, topics: TopicCatalogue, tmp_path: Path, scenario: Scenario, kills: int
) -> None:
    server = EmbeddedClickHouse(tmp_path, password="")
    server.start()
    client = connect(server.url, database="millstream")
    migrate(client, "millstream")
    port = int(server.url.rsplit(":", 1)[1])
    config = SinkConfig(group=topics.prefix, max_rows=2000, min_age_s=0.02, max_buffered_bytes=20_000_000)
    sink = Sink(KafkaConnection(kafka.bootstrap), topics, client, CODEC, config)
    stop = threading.Event()
    running = threading.Thread(target=sink.run, args=(stop,))
    writing = produce(kafka, topics, seconds=3 * kills)
    running.start()
    try:
        for kill in range(kills):
            wait_for_rows(client, EVENTS // 12 + kill * EVENTS * 5 // 6 // kills)
            server.kill()
            deadline = time.monotonic() + 20
            while not sink.status.last_error:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            server = EmbeddedClickHouse(tmp_path, port=port, password="")
            server.start()
            scenario.progress(f"kill {kill + 1} of {kills}")
        wait_for_rows(client, EVENTS)
        stop.set()
        running.join()
        writing.join()
        assert_exactly_once(kafka, topics, client, scenario)
    finally:
        stop.set()
        running.join(20)
        server.stop()


def test_a_sink_that_starts_before_clickhouse_does_waits_for_it(
    kafka: Broker, topics: TopicCatalogue, tmp_path: Path, scenario: Scenario
) -> None:
    port = free_port()
    with sink_process(kafka.bootstrap, topics, f"http://127.0.0.1:{port}", tmp_path) as sink:
        writing = produce(kafka, topics, seconds=1)
        deadline = time.monotonic() + 30
        while "clickhouse_unavailable" not in sink.tail:
            assert time.monotonic() < deadline and sink.is_alive(), sink.tail
            time.sleep(0.1)
        with EmbeddedClickHouse(tmp_path / "clickhouse", port=port, password="") as server:
            client = connect(server.url, database="millstream")
            migrate(client, "millstream")
            wait_for_rows(client, EVENTS)
            writing.join()
            assert_exactly_once(kafka, topics, client, scenario)
            sink.stop(20)
    assert sink.returncode == 0


def test_a_clickhouse_that_hangs_does_not_cost_the_sink_its_place_in_the_group(
    kafka: Broker, topics: TopicCatalogue, clickhouse: Client, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    """The poll thread never waits for an insert, and memory stays bounded: partitions are paused meanwhile."""
    answer = threading.Event()
    insert = clickhouse.raw_insert

    def slow(*args: object, **kwargs: object) -> object:
        answer.wait(60)
        return insert(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(clickhouse, "raw_insert", slow)
    config = SinkConfig(group=topics.prefix, max_rows=2000, max_buffered_bytes=8_000_000)
    sink = Sink(
        KafkaConnection(kafka.bootstrap, {"max.poll.interval.ms": 6000}),
        topics,
        clickhouse,
        CODEC,
        config,
    )
    stop = threading.Event()
    running = threading.Thread(target=sink.run, args=(stop,))
    writing = produce(kafka, topics, seconds=1)
    running.start()
    try:
        writing.join()
        deadline = time.monotonic() + 30
        read, since = sink.status.rows_read, time.monotonic()
        while time.monotonic() - since < 7:
            assert time.monotonic() < deadline
            if sink.status.rows_read != read:
                read, since = sink.status.rows_read, time.monotonic()
            time.sleep(0.1)
        print(f"{read:,} of {EVENTS:,} rows read while nothing could be inserted")
        assert 0 < read < EVENTS
        assert sink.status.rows_inserted == 0
        answer.set()
        wait_for_rows(clickhouse, EVENTS)
        assert sink.status.repeated_batches == 0, "the sink lost its partitions"
    finally:
        answer.set()
        stop.set()
        running.join(30)
    assert_exactly_once(kafka, topics, clickhouse, scenario)
