"""Is every event in ClickHouse exactly once, whichever process is killed meanwhile?

Events go to three brokers in transactions, every tenth of which is aborted first and then sent again. Two sinks share
the partitions: one is a static member of the group, the other is not, so both ways of rejoining occur. While events
are sent, a sink is killed with -9 repeatedly, at random moments; ClickHouse and a broker are stopped or killed and
started again. At the end ClickHouse is compared with a read_committed reader that shares nothing with the sink: the
offsets of each partition, and every rollup with the same query on the raw table.

missing                offsets that the reader has and ClickHouse has not
doubled                rows of ClickHouse beyond the first of an offset
never_committed        offsets that ClickHouse has and the reader has not, such as those of aborted transactions
rollups_that_disagree  rollups that differ from the raw events

Exit code 1 when one of them is not 0.
"""

import itertools
import os
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from event_load import events
from harness import Harness, Value

from millstream.analytics import connect, migrate
from millstream.analytics.warehouse.reconciliation.disagreements import disagreements, rollup_names
from millstream.local.broker import ApacheKafka
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.local.process import ChildProcess
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics

TRANSACTION_EVENTS = 2000
ABORTED_EVERY = 10
SINKS = 2
PARTITIONS = 8
SETTLED_S = 3.0
"""Time for the last transaction markers to be written, and for a sink to repeat an insert."""
WITHIN_S = 300.0
"""How long the sinks may take for the rest after the last kill."""

Offsets = dict[int, "np.ndarray[tuple[int], np.dtype[np.int64]]"]
"""Of each partition, ascending."""


@dataclass(frozen=True)
class Plan:
    """How many events are sent over how many seconds, and how often each process is killed."""

    events: int
    seconds: float
    sink_kills: int
    clickhouse_stops: int
    broker_kills: int


FULL = Plan(2_000_000, 200, 30, 5, 2)
QUICK = Plan(100_000, 10, 4, 1, 1)


@dataclass
class Cluster:
    """Three brokers, ClickHouse and the sinks between them."""

    folder: Path
    topics: TopicCatalogue = field(default_factory=lambda: TopicCatalogue(partitions=PARTITIONS))
    batches_repeated: int = 0

    def __post_init__(self) -> None:
        self.kafka = ApacheKafka(self.folder / "kafka", 3)
        self.clickhouse = EmbeddedClickHouse(self.folder / "clickhouse", password="")
        self.sinks: list[ChildProcess] = []

    def start(self) -> None:
        self.kafka.start()
        self.clickhouse.start()
        apply_topics(self.connection, self.topics)
        migrate(self.client(), "millstream")
        self.sinks = [self._sink(number) for number in range(SINKS)]
        for sink in self.sinks:
            sink.start()

    def stop(self) -> None:
        for sink in self.sinks:
            sink.terminate()
        for sink in self.sinks:
            sink.stop()
        self.clickhouse.stop()
        self.kafka.stop()

    @property
    def connection(self) -> KafkaConnection:
        # A stopped broker is part of the plan; every client would log it repeatedly.
        return KafkaConnection(self.kafka.bootstrap, {"log_level": 0})

    def client(self) -> Client:
        return connect(self.clickhouse.url, database="millstream")

    def _sink(self, number: int) -> ChildProcess:
        environment = {
            **os.environ,
            "MILLSTREAM_KAFKA__BOOTSTRAP": self.kafka.bootstrap,
            "MILLSTREAM_CLICKHOUSE__URL": self.clickhouse.url,
            "MILLSTREAM_LOG_FORMAT": "json",
            **({"MILLSTREAM_SINK__INSTANCE_ID": "static"} if number == 0 else {}),
        }
        return ChildProcess(
            [sys.executable, "-m", "millstream", "sink", "--name", f"sink-{number}"],
            env=environment,
            cwd=self.folder,
            log=self.folder / f"sink-{number}.log",
            on_line=self._hear,
        )

    def _hear(self, line: str) -> None:
        self.batches_repeated += "batch_repeated" in line


def main() -> None:
    harness = Harness(__doc__)
    plan = QUICK if harness.quick else FULL
    draw = random.Random(os.urandom(8))
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            with harness.step("sending events", plan.events) as advance:
                sending = Sending(cluster, plan, advance)
                sending.start()
                for victim in deaths(plan, draw):
                    time.sleep(draw.uniform(0.3, 1.7) * plan.seconds / (plan.sink_kills + plan.clickhouse_stops + 2))
                    kill_and_restart(harness, cluster, victim, draw)
                sending.join()
            if sending.error:
                raise sending.error
            found = verdict(harness, cluster)
        finally:
            cluster.stop()
    results: dict[str, Value] = {
        "events": plan.events,
        "sink_kills": plan.sink_kills,
        "clickhouse_stops": plan.clickhouse_stops,
        "broker_kills": plan.broker_kills,
        "transactions_aborted": sending.aborted,
        "batches_repeated": cluster.batches_repeated,
        **found,
        "broker": "apache, 3 nodes",
    }
    harness.finish(results)
    if any(found[name] for name in ("missing", "doubled", "never_committed", "rollups_that_disagree")):
        raise SystemExit(1)


def deaths(plan: Plan, draw: random.Random) -> Iterator[str]:
    victims = ["sink"] * plan.sink_kills + ["clickhouse"] * plan.clickhouse_stops + ["broker"] * plan.broker_kills
    draw.shuffle(victims)
    yield from victims


def kill_and_restart(harness: Harness, cluster: Cluster, victim: str, draw: random.Random) -> None:
    """Kill it, wait, and start it again."""
    if victim == "sink":
        number = draw.randrange(SINKS)
        cluster.sinks[number].kill()
        harness.say(f"killed sink {number}")
        cluster.sinks[number].start()
    elif victim == "clickhouse":
        kill = draw.random() < 0.5
        (cluster.clickhouse.kill if kill else cluster.clickhouse.stop)()
        harness.say("killed ClickHouse" if kill else "stopped ClickHouse")
        time.sleep(draw.uniform(0.5, 3))
        cluster.clickhouse.start()
    else:
        node = cluster.kafka.node(draw.randrange(3) + 1)
        node.kill()
        harness.say(f"killed broker {node.number}")
        time.sleep(draw.uniform(1, 4))
        node.start()


class Sending(threading.Thread):
    """Sends the events of the plan in transactions, evenly over its time."""

    def __init__(self, cluster: Cluster, plan: Plan, advance: Callable[[int], None]) -> None:
        super().__init__(name="sending", daemon=True)
        self.aborted = 0
        self.error: BaseException | None = None
        self._connection = cluster.connection
        self._topic = cluster.topics.events
        self._plan = plan
        self._advance = advance
        self._producer = self._connect()

    def run(self) -> None:
        try:
            began = time.monotonic()
            source = events(self._plan.events)
            sent = 0
            for turn in itertools.count():
                some = list(itertools.islice(source, TRANSACTION_EVENTS))
                if not some:
                    break
                if turn % ABORTED_EVERY == 0:
                    self._abort(some)
                while not self._commit(some):
                    self.aborted += 1
                sent += len(some)
                self._advance(len(some))
                time.sleep(max(0.0, began + self._plan.seconds * sent / self._plan.events - time.monotonic()))
        except BaseException as error:
            self.error = error

    def _connect(self) -> Producer:
        producer = Producer(
            self._connection.producer(
                transactional_id="exactly-once", queue_buffering_max_messages=10**6, transaction_timeout_ms=30_000
            )
        )
        producer.init_transactions(60)
        return producer

    def _produce(self, some: list[tuple[str, bytes]]) -> None:
        self._producer.begin_transaction()
        for key, value in some:
            self._producer.produce(self._topic, value, key)
        self._producer.flush()

    def _abort(self, some: list[tuple[str, bytes]]) -> None:
        """Write records and abort: they are in the log, followed by the abort marker."""
        try:
            self._produce(some)
            self._producer.abort_transaction()
        except KafkaException as error:
            self._recover(error.args[0])
        self.aborted += 1

    def _commit(self, some: list[tuple[str, bytes]]) -> bool:
        """Whether the transaction was committed; a killed broker can prevent it."""
        try:
            self._produce(some)
            while True:
                try:
                    self._producer.commit_transaction()
                    return True
                except KafkaException as error:
                    if not error.args[0].retriable():
                        raise
        except KafkaException as error:
            self._recover(error.args[0])
            return False

    def _recover(self, error: KafkaError) -> None:
        if error.txn_requires_abort():
            self._producer.abort_transaction()
        else:
            self._producer = self._connect()


def verdict(harness: Harness, cluster: Cluster) -> dict[str, int]:
    """Counts of both sides, after the sinks have caught up and had time to insert something twice."""
    time.sleep(SETTLED_S)
    read = committed_offsets(harness, cluster)
    expected = sum(map(len, read.values()))
    await_rows(harness, cluster, expected)
    time.sleep(SETTLED_S)
    client = cluster.client()
    rows, distinct = client.query(
        "SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM job_events"
    ).result_rows[0]
    written = {partition: stored_offsets(client, partition) for partition in range(PARTITIONS)}
    disagreeing = disagreements(client)
    for each in disagreeing:
        harness.say(f"[red]{each}[/]")
    harness.say(
        f"read_committed reader: {expected:,} records; ClickHouse: {rows:,} rows, {distinct:,} distinct offsets"
    )
    harness.say(f"compared with the raw table: {', '.join(rollup_names())}")
    return {
        "clickhouse_rows": rows,
        "distinct_offsets": distinct,
        "reader_records": expected,
        "missing": sum(len(np.setdiff1d(read[number], written[number])) for number in written),
        "doubled": rows - distinct,
        "never_committed": sum(len(np.setdiff1d(written[number], read[number])) for number in written),
        "rollups_compared": len(rollup_names()),
        "rollups_that_disagree": len(disagreeing),
    }


def committed_offsets(harness: Harness, cluster: Cluster) -> Offsets:
    """What a read_committed reader finds on the topic, from its first record to its end."""
    partitions = range(PARTITIONS)
    consumer = Consumer(cluster.connection.consumer("independent", enable_partition_eof=True))
    consumer.assign([TopicPartition(cluster.topics.events, number, 0) for number in partitions])
    found: defaultdict[int, list[int]] = defaultdict(list)
    ended: set[int] = set()
    with harness.step("reading the topic", 0) as advance:
        while len(ended) < len(partitions):
            messages = consumer.consume(10_000, 0.2)
            for message in messages:
                number, offset, error = message.partition(), message.offset(), message.error()
                assert number is not None and offset is not None
                if error is None:
                    found[number].append(offset)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(number)
            advance(len(messages))
    consumer.close()
    return {number: np.array(found[number], dtype=np.int64) for number in partitions}


def await_rows(harness: Harness, cluster: Cluster, expected: int) -> None:
    deadline, rows = time.monotonic() + WITHIN_S, 0
    with harness.step("waiting for the sinks", expected) as advance:
        while rows < expected and time.monotonic() < deadline:
            try:
                now = cluster.client().query("SELECT count() FROM job_events").result_rows[0][0]
                advance(now - rows)
                rows = now
            except ClickHouseError as error:
                harness.say(str(error))
            time.sleep(0.5)


def stored_offsets(client: Client, partition: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    body = client.raw_query(
        f"SELECT kafka_offset FROM job_events WHERE kafka_partition = {partition} ORDER BY 1", fmt="RowBinary"
    )
    return np.frombuffer(body, dtype="<i8").astype(np.int64)


if __name__ == "__main__":
    main()
