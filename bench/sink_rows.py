"""How many events a second reach ClickHouse, and what sets the limit.

Five ways for the same events, one after the other on the same machine, each into tables of its own with all their
materialised views (attempts and the minute rollups):

raw_consume        reading them from Kafka in Python and dropping them: the most that any Python consumer can do.
sink               the sink as it runs in production: announce, insert undecoded, acknowledge.
decode_insert      what one would write first: decode each record with the codec, insert columns by clickhouse-connect.
fastavro_insert    the same without the codec's models: fastavro's dictionaries, unchecked, straight into the columns
                   (not with --quick).
clickhouse_insert  ClickHouse alone: the sink's own Avro files, made beforehand, in as many parallel inserts. It is the
                   same format, rows and views, so what the sink is slower than this is the sink's own cost.

A rate counts from the first record read (first insert sent; the sink's first rows in ClickHouse, which do not count)
until the last row is in.
"""

import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import fastavro
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Message, Producer
from event_load import CODEC, events
from rich.console import Console
from rig import Rig, Stopwatch

from millstream.analytics import connect, migrate
from millstream.consumers.sink import SinkConfig
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.local.services import RunningService, Service, ServiceLog
from millstream.local.stack import LocalStack
from millstream.schemas import JobEvent
from millstream.schemas.codec import HEADER, reader_schema

EVENT_SCHEMA = reader_schema("JobEvent")
BATCH_ROWS = SinkConfig().max_rows


def main() -> None:
    rig = Rig(__doc__)
    rows, rounds = (300_000, 1) if rig.quick else (1_000_000, 3)
    with rig.stack() as stack:
        produce(rig, stack, rows)
        found = [
            {
                "raw_consume_rows_per_s": raw_consume(rig, stack, rows),
                "clickhouse_insert_rows_per_s": clickhouse_insert(rig, stack, rows, turn),
                "sink_rows_per_s": sink(rig, stack, rows, turn),
                "decode_insert_rows_per_s": decode_insert(rig, stack, rows, turn, decode_with_codec),
                **({} if rig.quick else {"fastavro_insert_rows_per_s": fastavro_insert(rig, stack, rows, turn)}),
            }
            for turn in range(rounds)
        ]
    rates = {name: sorted(turn[name] for turn in found)[rounds // 2] for name in found[0]}
    times = rates["sink_rows_per_s"] / rates["decode_insert_rows_per_s"]
    rig.finish({**rates, "sink_times_decode_insert": round(times, 1), "rows": rows, "rounds": rounds})


def produce(rig: Rig, stack: LocalStack, rows: int) -> None:
    producer = Producer(stack.settings.connection.producer(linger_ms=20, queue_buffering_max_messages=1_000_000))
    with rig.step("producing events", rows) as advance:
        for number, (key, value) in enumerate(itertools.islice(events(rows), rows)):
            producer.produce(stack.settings.catalogue.events, value, key)
            if number % 5000 == 4999:
                producer.poll(0)
                advance(5000)
        producer.flush()


def consume(stack: LocalStack, rows: int, group: str) -> Iterator[list[Message]]:
    """All events from the beginning, in the portions in which they arrive."""
    consumer = Consumer(stack.settings.connection.consumer(group))
    consumer.subscribe([stack.settings.catalogue.events])
    read = 0
    while read < rows:
        messages = consumer.consume(10_000, 0.1)
        read += len(messages)
        if messages:
            yield messages
    consumer.close()


def raw_consume(rig: Rig, stack: LocalStack, rows: int) -> float:
    watch = Stopwatch()
    with rig.step("raw consume", rows) as advance:
        for messages in consume(stack, rows, f"bench-raw-{datetime.now(UTC)}"):
            watch.begin()
            advance(len(messages))
    return watch.per_second(rows)


def fresh_tables(stack: LocalStack, name: str) -> Client:
    client = connect(stack.settings.clickhouse.url)
    migrate(client, name)
    return client


def sink(rig: Rig, stack: LocalStack, rows: int, turn: int) -> float:
    """`millstream sink` as a process of its own; counts from its first row in ClickHouse to the last."""
    database = f"bench_sink_{turn}"
    client = fresh_tables(stack, database)
    service = Service(
        "sink",
        ("sink",),
        {"MILLSTREAM_SINK__GROUP": f"bench-sink-{turn}", "MILLSTREAM_CLICKHOUSE__DATABASE": database},
    )
    running = RunningService(service, stack.environment, ServiceLog(Console(stderr=True), "warning"))
    running.start()
    first = done = 0
    watch = Stopwatch()
    with rig.step("sink", rows) as advance:
        while done < rows:
            if not running.process.is_alive():
                raise SystemExit(f"the sink ended:\n{running.process.tail}")
            # Asking costs the engine something too.
            time.sleep(0.2)
            now = int(client.query("SELECT count() FROM job_events").result_rows[0][0])
            if now and not first:
                first = now
                watch.begin()
            advance(now - done)
            done = now
    rate = watch.per_second(rows - first)
    running.process.stop(20)
    check(client, rows)
    return rate


def decode_with_codec(value: bytes) -> Iterable[Any]:
    return CODEC.decode(value, JobEvent).__dict__.values()


def decode_with_fastavro(value: bytes) -> Iterable[Any]:
    body = io.BytesIO(value)
    body.seek(HEADER.size)
    event: Any = fastavro.schemaless_reader(body, EVENT_SCHEMA)
    return event.values()  # type: ignore[no-any-return]


def decode_insert(rig: Rig, stack: LocalStack, rows: int, turn: int, decode: Callable[[bytes], Iterable[Any]]) -> float:
    name = decode.__name__
    client = fresh_tables(stack, f"bench_{name}_{turn}")
    names = [*JobEvent.model_fields, "kafka_partition", "kafka_offset"]
    columns: list[list[Any]] = [[] for _ in names]

    def insert() -> None:
        client.insert("job_events", columns, names, column_oriented=True)
        for column in columns:
            column.clear()

    watch = Stopwatch()
    with rig.step(name.replace("_", " "), rows) as advance:
        for messages in consume(stack, rows, f"bench-{name}-{turn}"):
            watch.begin()
            for message in messages:
                for column, value in zip(columns, decode(message.value() or b""), strict=False):
                    column.append(value)
                columns[-2].append(message.partition())
                columns[-1].append(message.offset())
            advance(len(messages))
            if len(columns[0]) >= BATCH_ROWS:
                insert()
        insert()
    rate = watch.per_second(rows)
    check(client, rows)
    return rate


def fastavro_insert(rig: Rig, stack: LocalStack, rows: int, turn: int) -> float:
    return decode_insert(rig, stack, rows, turn, decode_with_fastavro)


def clickhouse_insert(rig: Rig, stack: LocalStack, rows: int, turn: int) -> float:
    client = fresh_tables(stack, f"bench_insert_{turn}")
    file = AvroFile(CODEC.registry.schema_of(CODEC.registry.id_of("JobEvent")))
    values = enumerate(value for _, value in itertools.islice(events(rows), rows))
    bodies = []
    while some := list(itertools.islice(values, BATCH_ROWS)):
        bodies.append(file.build(0, some))

    def insert(body: bytes) -> None:
        client.raw_insert("job_events_landing", file.field_names, body, settings=INSERT_SETTINGS, fmt="Avro")

    watch = Stopwatch()
    with (
        rig.step("ClickHouse's own insert", rows) as advance,
        ThreadPoolExecutor(SinkConfig().parallel_inserts) as pool,
    ):
        watch.begin()
        for _ in pool.map(insert, bodies):
            advance(rows // len(bodies))
    rate = watch.per_second(rows)
    check(client, rows)
    return rate


def check(client: Client, rows: int) -> None:
    """A rate over rows that are not there would be worth nothing."""
    found = client.query("SELECT count() FROM job_events").result_rows[0][0]
    if found != rows:
        raise SystemExit(f"{rows} rows were sent, {found} are in {client.database}.job_events")


if __name__ == "__main__":
    main()
