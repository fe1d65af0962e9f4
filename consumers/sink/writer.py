"""Inserts a batch into ClickHouse, completely and exactly once, and finds the records that ClickHouse rejects.

The records of each schema in it, nearly always one, are one insert. The token of an insert depends only on the range of
offsets and the schema, so ClickHouse drops a repeat whatever happened to the first try, and completes one that arrived
half way. That holds because an insert is always one block (its settings ensure it) of the same rows in the same order.

When ClickHouse rejects an insert, halves of it are sent to a check table, which reads the same columns and keeps
nothing, until the records at fault are alone. The others are then inserted under the same token. So the search writes
no row, and a repeat after a crash is dropped as usual.
"""

from dataclasses import dataclass
from typing import cast

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.summary import QuerySummary

from millstream.consumers.sink.avro_file import FRAME_COLUMNS, AvroFile
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.config import MOST_ROWS
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.rejected import RejectedRecord, find_rejected, is_caused_by_data
from millstream.consumers.sink.sources import Source
from millstream.schemas.codec import DecodeError, schema_id_of
from millstream.schemas.registry import NewerSchema, UnknownSchema

INSERT_SETTINGS: dict[str, str | int] = {
    # One insert is one block, formed of the same rows each time.
    "max_insert_block_size": MOST_ROWS + 1,
    "min_insert_block_size_rows": MOST_ROWS + 1,
    "min_insert_block_size_bytes": 0,
    "input_format_parallel_parsing": 0,
    # Not handed to a background buffer: the answer means that the rows are inserted.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "materialized_views_ignore_errors": 0,
    # Late events may belong to any number of days.
    "max_partitions_per_insert_block": 0,
    # In a cluster the answer means that the rows are on their shards.
    "distributed_foreground_insert": 1,
}

HTTP_SETTINGS: dict[str, str | int] = {
    **INSERT_SETTINGS,
    # The answer is sent when everything is written, so its status and its summary are those of the whole insert.
    "wait_end_of_query": 1,
}


PAUSED = "millstream: inserts are paused"
"""What an insert's error contains while `millstream migrate` changes tables, or another command repairs them."""


class InsertsPaused(RuntimeError):
    """Tables are being changed or repaired. The insert is repeated."""


class TablesTooOld(RuntimeError):
    """The landing table cannot check the frames of records. `millstream migrate` adds what it lacks; until then the
    insert is repeated."""


class UnconfirmedInsert(RuntimeError):
    """The answer to an insert does not say that every row was written, whatever its status. The insert is repeated."""


@dataclass(frozen=True, slots=True)
class InsertResult:
    """How many rows of a batch were inserted, and the records that were rejected."""

    rows: int
    rejected: list[RejectedRecord]


class Writer:
    """Inserts the batches of one topic. Thread-safe."""

    def __init__(self, client: Client, schemas: RecordSchemas, source: Source, topic: str, topic_id: str) -> None:
        """`topic_id` distinguishes topics of one name: a topic that was deleted and created again starts at offset
        0."""
        self._client = client
        self._schemas = schemas
        self._identity = f"{topic}:{topic_id}"
        self._source = source
        self._seen: set[bytes] = set()
        self._columns: frozenset[str] = frozenset()

    def write(self, partition: int, batch: InsertBatch) -> InsertResult:
        """Insert the batch; when this returns, all records but the rejected ones are in ClickHouse exactly once.

        Raises `UnconfirmedInsert`, `InsertsPaused`, `NewerSchema`, what clickhouse-connect raises while ClickHouse is
        unreachable or unhealthy, and what the registry raises while it is; the caller repeats the call as often as it
        takes.
        """
        rows = 0
        rejected: list[RejectedRecord] = []
        groups = dict.fromkeys(batch.headers, batch.records) if len(batch.headers) == 1 else batch.records.by_header()
        for header, records in groups.items():
            try:
                file = self._file(header)
            except NewerSchema:
                raise
            except (DecodeError, UnknownSchema) as error:
                rejected += [RejectedRecord(*record, str(error)) for record in records]
                continue
            token = f"{self._identity}:{partition}:{batch.range.start}:{batch.range.end}:{schema_id_of(header)}"
            not_inserted = self._write(file, partition, records, token)
            rows += len(records) - len(not_inserted)
            rejected += not_inserted
        return InsertResult(rows, rejected)

    def _write(self, file: AvroFile, partition: int, records: Records, token: str) -> list[RejectedRecord]:
        """Insert the records of one schema; returns those that were rejected."""
        try:
            self._insert(self._source.landing_table, file, partition, records, token)
            return []
        except DatabaseError as error:
            # The table may have changed.
            self._columns = frozenset()
            if PAUSED in str(error):
                raise InsertsPaused(str(error)) from error
            if not is_caused_by_data(error):
                raise
            rejected = find_rejected(records, lambda some: self._rejection(file, partition, some))
            if not rejected:
                raise
        bad = {found.offset for found in rejected}
        readable = Records.of(record for record in records if record[0] not in bad)
        if len(readable):
            self._insert(self._source.landing_table, file, partition, readable, token)
        return rejected

    def _file(self, header: bytes) -> AvroFile:
        file = self._schemas.file(header)
        if header not in self._seen:
            self._seen.add(header)
            # The table may have got columns for it meanwhile.
            self._columns = frozenset()
        return file

    def _rejection(self, file: AvroFile, partition: int, records: Records) -> str | None:
        """Why ClickHouse rejects these records; None when it accepts them."""
        reason = self._checked(file, partition, records)
        if reason is None or len(records) > 1:
            return reason
        # An unhealthy server rejects an empty file as well; if it was unhealthy only for a moment, the second check
        # passes.
        self._insert(self._source.check_table, file, partition, Records(), token="")
        return self._checked(file, partition, records)

    def _checked(self, file: AvroFile, partition: int, records: Records) -> str | None:
        try:
            self._insert(self._source.check_table, file, partition, records, token="")
        except DatabaseError as error:
            if is_caused_by_data(error):
                return str(error)
            raise
        return None

    def _insert(self, table: str, file: AvroFile, partition: int, records: Records, token: str) -> None:
        settings = {**HTTP_SETTINGS, "insert_deduplication_token": token} if token else HTTP_SETTINGS
        known = self._known_columns()
        summary = self._client.raw_insert(
            table,
            # Fields without a column are left out; columns without a field get their default.
            [name for name in file.field_names if name in known],
            file.build(partition, records.offsets, cast(list[bytes], records.values)),
            settings=settings,
            fmt="Avro",
        )
        _confirm(summary, table, len(records))

    def _known_columns(self) -> frozenset[str]:
        columns = self._columns
        if not columns:
            described = self._client.query(f"DESCRIBE TABLE {self._source.landing_table}")
            columns = frozenset(row[0] for row in described.result_rows)
            if not columns >= FRAME_COLUMNS:
                raise TablesTooOld(
                    f"{self._source.landing_table} has no columns {' and '.join(sorted(FRAME_COLUMNS))}, by which it "
                    "checks where a record ends; run millstream migrate"
                )
            self._columns = columns
        return columns


def _confirm(summary: QuerySummary, table: str, sent: int) -> None:
    """Raises `UnconfirmedInsert` unless ClickHouse says that it wrote all rows. Rows that views write and rows that it
    drops because they were written before count as well."""
    written = int(summary.summary.get("written_rows", 0))
    if written < sent:
        raise UnconfirmedInsert(f"ClickHouse answered without an error, but wrote {written} of {sent} rows to {table}")
