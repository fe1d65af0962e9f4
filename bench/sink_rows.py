"""Events per second into ClickHouse, and what limits them.

Six ways for the same events, one after the other on the same machine, each into tables of its own with all their
materialised views (attempts and the minute rollups):

raw_consume        reading them from Kafka in Python and dropping them: the most that any Python consumer can do.
sink               the sink as it runs in production: announce, insert undecoded, acknowledge.
decode_insert      the simplest way: decode each record with the codec, insert columns by clickhouse-connect.
fastavro_insert    the same without the codec's models: fastavro's dictionaries, unchecked, straight into the columns
                   (not with --quick).
clickhouse_insert  ClickHouse alone: the sink's own Avro files, made beforehand, in as many parallel inserts. It is the
                   same format, rows and views, so the difference to the sink is the sink's own cost.
kafka_engine       ClickHouse's own Kafka table, read by as many consumers through a view into the same tables. It needs
                   a Schema Registry, so a tiny one answers; it may insert a batch twice after a crash. Where there is
                   no such engine, the rate is null and `missing` says why.

Ways that decode in Python get only `decoded_rows` of the rows: their rate does not depend on the number.

A rate counts from the first record read (first insert sent; the sink's first rows in ClickHouse, which do not count)
until the last row is in.
"""

import io
import itertools
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import Consumer, Message, Producer
from event_load import CODEC, events
from harness import Harness, Stopwatch
from rich.console import Console

from millstream import clickhouse
from millstream.analytics import migrate
from millstream.consumers.sink import SinkConfig
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.local.services import RunningService, Service, ServiceLog
from millstream.local.stack import LocalStack
from millstream.schemas import JobEvent
from millstream.schemas.codec import HEADER, reader_schema

EVENT_SCHEMA = reader_schema("JobEvent")
EVENT_SCHEMA_OF_WRITER = CODEC.registry.schema_of(CODEC.registry.id_of("JobEvent"))
BATCH_ROWS = SinkConfig().max_rows
MOST_DECODED = 100_000
SILENT_S = 30.0


def main() -> None:
    harness = Harness(
        __doc__, lambda parser: parser.add_argument("--rows", type=int, help="events (default: 10,000,000)")
    )
    rows: int = harness.options.rows or (300_000 if harness.quick else 10_000_000)
    decoded = min(rows, MOST_DECODED)
    with harness.stack() as stack:
        produce(harness, stack, rows)
        rates = {
            "raw_consume_rows_per_s": raw_consume(harness, stack, rows),
            "clickhouse_insert_rows_per_s": clickhouse_insert(harness, stack, rows),
            "sink_rows_per_s": sink(harness, stack, rows),
        }
        missing = {}
        try:
            rates["kafka_engine_rows_per_s"] = kafka_engine(harness, stack, rows)
        except Unavailable as error:
            missing["kafka_engine"] = str(error)
        rates["decode_insert_rows_per_s"] = decode_insert(harness, stack, decoded, decode_with_codec)
        if not harness.quick:
            rates["fastavro_insert_rows_per_s"] = decode_insert(harness, stack, decoded, decode_with_fastavro)
    sink_rate = rates["sink_rows_per_s"]
    harness.finish(
        {
            "kafka_engine_rows_per_s": None,
            **rates,
            "sink_share_of_clickhouse_insert": round(sink_rate / rates["clickhouse_insert_rows_per_s"], 3),
            "sink_times_decode_insert": round(sink_rate / rates["decode_insert_rows_per_s"], 1),
            "rows": rows,
            "decoded_rows": decoded,
            "missing": missing,
        }
    )


def produce(harness: Harness, stack: LocalStack, rows: int) -> None:
    producer = Producer(stack.settings.connection.producer(linger_ms=20, queue_buffering_max_messages=1_000_000))
    with harness.step("producing events", rows) as advance:
        for number, (key, value) in enumerate(events(rows)):
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
        messages = consumer.consume(min(10_000, rows - read), 0.1)
        read += len(messages)
        if messages:
            yield messages
    consumer.close()


def raw_consume(harness: Harness, stack: LocalStack, rows: int) -> float:
    watch = Stopwatch()
    with harness.step("raw consume", rows) as advance:
        for messages in consume(stack, rows, f"bench-raw-{datetime.now(UTC)}"):
            watch.begin()
            advance(len(messages))
    return watch.per_second(rows)


def fresh_tables(stack: LocalStack, name: str) -> Client:
    client = clickhouse.connect(stack.settings)
    migrate(client, name)
    return client


def sink(harness: Harness, stack: LocalStack, rows: int) -> float:
    """`millstream sink` as a process of its own; counts from its first row in ClickHouse to the last."""
    database = "bench_sink"
    client = fresh_tables(stack, database)
    service = Service(
        "sink",
        ("sink",),
        {"MILLSTREAM_SINK__GROUP": "bench-sink", "MILLSTREAM_CLICKHOUSE__DATABASE": database},
    )
    running = RunningService(service, stack.environment, ServiceLog(Console(stderr=True), "warning"))
    running.start()
    first = done = 0
    watch = Stopwatch()
    with harness.step("sink", rows) as advance:
        while done < rows:
            if not running.process.is_alive():
                raise SystemExit(f"the sink ended:\n{running.process.tail}")
            # Each count costs the engine time too.
            time.sleep(0.2)
            now = int(client.query("SELECT count() FROM job_events").result_rows[0][0])
            if now and not first:
                first = now
                watch.begin()
            advance(now - done)
            done = now
    rate = watch.per_second(rows - first)
    running.process.stop(20)
    drop(client, rows)
    return rate


def decode_with_codec(value: bytes) -> Iterable[Any]:
    return CODEC.decode(value, JobEvent).__dict__.values()


def decode_with_fastavro(value: bytes) -> Iterable[Any]:
    body = io.BytesIO(value)
    body.seek(HEADER.size)
    event: Any = fastavro.schemaless_reader(body, EVENT_SCHEMA)
    return event.values()  # type: ignore[no-any-return]


def decode_insert(harness: Harness, stack: LocalStack, rows: int, decode: Callable[[bytes], Iterable[Any]]) -> float:
    name = decode.__name__
    client = fresh_tables(stack, f"bench_{name}")
    names = [*JobEvent.model_fields, "kafka_partition", "kafka_offset"]
    columns: list[list[Any]] = [[] for _ in names]

    def insert() -> None:
        client.insert("job_events", columns, names, column_oriented=True)
        for column in columns:
            column.clear()

    watch = Stopwatch()
    with harness.step(name.replace("_", " "), rows) as advance:
        for messages in consume(stack, rows, f"bench-{name}"):
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
    drop(client, rows)
    return rate


def clickhouse_insert(harness: Harness, stack: LocalStack, rows: int) -> float:
    client = fresh_tables(stack, "bench_insert")
    file = AvroFile(EVENT_SCHEMA_OF_WRITER)
    values = (value for _, value in events(rows))
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder:
        paths: list[Path] = []
        with harness.step("making files", rows) as advance:
            while some := list(itertools.islice(values, BATCH_ROWS)):
                first = BATCH_ROWS * len(paths)
                paths.append(Path(folder) / str(len(paths)))
                paths[-1].write_bytes(file.build(0, range(first, first + len(some)), some))
                advance(len(some))

        def insert(path: Path) -> None:
            body = path.read_bytes()
            client.raw_insert("job_events_landing", file.field_names, body, settings=INSERT_SETTINGS, fmt="Avro")

        watch = Stopwatch()
        with (
            harness.step("ClickHouse's own insert", rows) as advance,
            ThreadPoolExecutor(SinkConfig().parallel_inserts) as pool,
        ):
            watch.begin()
            for _ in pool.map(insert, paths):
                advance(BATCH_ROWS)
        rate = watch.per_second(rows)
    drop(client, rows)
    return rate


class Unavailable(RuntimeError):
    """This way does not run here."""


class SchemaAnswer(BaseHTTPRequestHandler):
    """The response of a Schema Registry for the schema of an id."""

    def do_GET(self) -> None:
        schema = CODEC.registry.schema_of(int(self.path.rsplit("/", 1)[1]))
        body = json.dumps({"schema": json.dumps(schema)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


def kafka_engine(harness: Harness, stack: LocalStack, rows: int) -> float:
    client = fresh_tables(stack, "bench_kafka_engine")
    described = client.query("DESCRIBE TABLE job_events_landing").result_rows
    columns = ", ".join(f"{name} {kind}" for name, kind, *_ in described if name in JobEvent.model_fields)
    registry = ThreadingHTTPServer(("127.0.0.1", 0), SchemaAnswer)
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    first = done = 0
    watch = Stopwatch()
    try:
        make_kafka_table(
            client,
            f"CREATE TABLE from_kafka ({columns}) ENGINE = Kafka SETTINGS "
            f"kafka_broker_list = '{stack.settings.kafka.bootstrap}', "
            f"kafka_topic_list = '{stack.settings.catalogue.events}', kafka_group_name = 'bench-kafka-engine', "
            f"kafka_format = 'AvroConfluent', kafka_num_consumers = {SinkConfig().parallel_inserts}, "
            f"kafka_thread_per_consumer = 1, kafka_max_block_size = {BATCH_ROWS}, "
            f"kafka_poll_max_batch_size = {BATCH_ROWS}, "
            f"format_avro_schema_registry_url = 'http://127.0.0.1:{registry.server_port}'",
        )
        client.command(
            "CREATE MATERIALIZED VIEW job_events_from_kafka TO job_events AS "
            "SELECT *, toInt32(_partition) AS kafka_partition, toInt64(_offset) AS kafka_offset FROM from_kafka"
        )
        with harness.step("ClickHouse's Kafka engine", rows) as advance:
            heard = time.monotonic()
            while done < rows:
                time.sleep(0.2)
                now = int(client.query("SELECT count() FROM job_events").result_rows[0][0])
                if now and not first:
                    first = now
                    watch.begin()
                if now > done:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENT_S:
                    raise Unavailable(f"{done} of {rows} rows came, then none for {SILENT_S:g} s")
                advance(now - done)
                done = now
        rate = watch.per_second(rows - first)
    except DatabaseError as error:
        raise Unavailable(str(error)) from error
    finally:
        client.command("DROP VIEW IF EXISTS job_events_from_kafka")
        client.command("DROP TABLE IF EXISTS from_kafka")
        registry.shutdown()
    drop(client, rows)
    return rate


def make_kafka_table(client: Client, statement: str) -> None:
    """chDB creates the table and starts to read, then fails to register it in a list that only a server has (code 49).

    Such a table must be dropped before the engine stops.
    """
    try:
        client.command(statement)
    except DatabaseError:
        if not client.query("EXISTS TABLE from_kafka").result_rows[0][0]:
            raise


def drop(client: Client, rows: int) -> None:
    """Count the rows, so that a rate is only given for rows that exist, and drop the tables, whose merges would slow
    down the next way."""
    found = client.query("SELECT count() FROM job_events").result_rows[0][0]
    if found != rows:
        raise SystemExit(f"{rows} rows were sent, {found} are in {client.database}.job_events")
    client.command(f"DROP DATABASE {client.database} SYNC")


if __name__ == "__main__":
    main()
