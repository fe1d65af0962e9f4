"""Inserts a batch into ClickHouse, completely and exactly once, and finds the records that ClickHouse rejects.

The records of each schema in it, nearly always one, are one insert. The token of an insert depends only on the range of
offsets and the schema, so ClickHouse drops a repeat whatever happened to the first try, and completes one that arrived
half way. That holds because an insert is always one block (its settings ensure it) of the same rows in the same order;
the bytes of the file, whose marks are new each time, do not matter.

When ClickHouse rejects an insert, halves of it are sent to a check table, which reads the same columns and keeps
nothing, until the records at fault are alone. The others are then inserted under the same token. So the search writes
no row, and a repeat after a crash is dropped as usual.

When it is the size that ClickHouse refuses, the batch may be cut short if none of it is in the table. That shows for
all tables: ClickHouse makes the rows that views aggregate out of a block once it has written the block itself, and the
view that does not aggregate, that of the attempts, has no more partitions than the events. The part goes under the
token of the whole. If a try of the whole arrives after the part, it is dropped; if it arrived before, the part is, and
the table then has rows behind the part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.summary import QuerySummary

from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.config import MOST_ROWS
from millstream.consumers.sink.control_record import control_body
from millstream.consumers.sink.doubtful import Doubts
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.rejected import TOO_MANY_PARTS, InsertFault, RejectedRecord, Trial, fault_of
from millstream.consumers.sink.sources import Source
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.table_columns import TableColumns
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

Report = Callable[[list[RejectedRecord]], None]
"""Gives rejected records to the dead letters; returns when they are there. Raises what the caller knows."""


class InsertsPaused(RuntimeError):
    """Tables are being changed or repaired. The insert is repeated."""


class UnconfirmedInsert(RuntimeError):
    """The answer to an insert does not say that every row was written, whatever its status. The insert is repeated."""


class RefusedForSize(RuntimeError):
    """ClickHouse refuses the batch, and no record of it alone. `may_be_cut`: nothing of it is in the tables, so a part
    of it may be inserted instead; else it is repeated as it is. `by_parts`: the tables have too many parts, to which
    very small inserts would add."""

    def __init__(self, reason: str, *, may_be_cut: bool, by_parts: bool = False) -> None:
        super().__init__(reason)
        self.may_be_cut = may_be_cut
        self.by_parts = by_parts


@dataclass(frozen=True, slots=True)
class InsertResult:
    """How many rows of a batch were inserted, and the records that were rejected. `end`: everything before this offset
    is in ClickHouse; behind the batch if it was cut from a range that had arrived as a whole after all."""

    rows: int
    rejected: list[RejectedRecord]
    end: int


class Writer:
    """Inserts the batches of one topic. Thread-safe."""

    def __init__(
        self,
        client: Client,
        schemas: RecordSchemas,
        source: Source,
        topic: str,
        topic_id: str,
        status: SinkStatus | None = None,
    ) -> None:
        """`topic_id` distinguishes topics of one name: a topic that was deleted and created again starts at offset
        0."""
        self._client = client
        self._schemas = schemas
        self._identity = f"{topic}:{topic_id}"
        self._source = source
        self._columns = TableColumns(client, source, status or SinkStatus())

    def write(
        self, partition: int, batch: InsertBatch, refusals: int = 0, report: Report | None = None
    ) -> InsertResult:
        """Insert the batch; when this returns, all records but the rejected ones are in ClickHouse exactly once.
        `refusals`: how often ClickHouse refused it before; from the first on it is asked whether it is for its size.
        `report` gets rejected records before the others are inserted: once those are, no repeat would find them.

        Raises `UnconfirmedInsert`, `InsertsPaused`, `RefusedForSize`, `NewerSchema`, `TablesTooOld`, what `report` and
        clickhouse-connect raise, also while ClickHouse is unreachable or unhealthy, and what the registry raises while
        it is; the caller repeats the call as often as it takes.
        """
        rows = 0
        rejected: list[RejectedRecord] = []
        tell = report or (lambda _: None)
        for header, records in _groups(batch):
            try:
                file = self._schemas.file(header)
            except NewerSchema:
                raise
            except (DecodeError, UnknownSchema) as error:
                not_inserted = [RejectedRecord(*record, str(error)) for record in records]
                tell(not_inserted)
            else:
                insert = _SchemaInsert(self._client, self._source, self._columns, file, header, partition)
                token = f"{self._identity}:{partition}:{batch.range.start}:{batch.range.first_end}:{insert.schema_id}"
                try:
                    not_inserted = self._write(insert, records, token, refusals, tell)
                except RefusedForSize as error:
                    absent = self._is_absent(partition, batch.range)
                    raise RefusedForSize(str(error), may_be_cut=absent, by_parts=error.by_parts) from error
            rows += len(records) - len(not_inserted)
            rejected += not_inserted
        return InsertResult(rows, rejected, self._reached(partition, batch.range))

    def _write(
        self, insert: "_SchemaInsert", records: Records, token: str, refusals: int, report: Report
    ) -> list[RejectedRecord]:
        """Insert the records of one schema; returns those that were rejected."""
        try:
            insert.into_table(records, token)
            return []
        except DatabaseError as error:
            self._columns.forget()
            if PAUSED in str(error):
                raise InsertsPaused(str(error)) from error
            cause = fault_of(error)
            if cause is InsertFault.SERVER or (cause is not InsertFault.RECORDS and not refusals):
                raise
            rejected = [] if cause is InsertFault.SIZE else insert.trial().rejected(records)
            if not rejected:
                if refusals:
                    raise RefusedForSize(str(error), may_be_cut=False, by_parts=error.code == TOO_MANY_PARTS) from error
                raise
        report(rejected)
        bad = {found.offset for found in rejected}
        readable = Records.of(record for record in records if record[0] not in bad)
        if len(readable):
            insert.into_table(readable, token)
        return rejected

    def _is_absent(self, partition: int, announced: Intent) -> bool:
        """Whether no row of the range that was announced at first is in the table."""
        return self._rows(partition, announced.start, announced.first_end) == 0

    def _reached(self, partition: int, inserted: Intent) -> int:
        if inserted.cut_from is None or self._rows(partition, inserted.end, inserted.cut_from) == 0:
            return inserted.end
        return inserted.cut_from

    def _rows(self, partition: int, start: int, end: int) -> int:
        found = self._client.query(
            f"SELECT count() FROM {self._source.table} WHERE kafka_partition = {partition:d} "
            f"AND kafka_offset >= {start:d} AND kafka_offset < {end:d}"
        )
        return int(found.result_rows[0][0])


class _SchemaInsert:
    """Inserts records of one schema and partition."""

    def __init__(
        self, client: Client, source: Source, columns: TableColumns, file: AvroFile, header: bytes, partition: int
    ) -> None:
        self.schema_id = schema_id_of(header)
        self._client = client
        self._source = source
        self._columns = columns
        self._file = file
        self._header = header
        self._partition = partition

    def into_table(self, records: Records, token: str) -> None:
        self._insert(self._source.landing_table, records, {**HTTP_SETTINGS, "insert_deduplication_token": token})

    def trial(self) -> Trial:
        doubts = Doubts(self._file.schema, dated=self._source.dated)
        return Trial(
            lambda records: self._insert(self._source.check_table, records, HTTP_SETTINGS), self._control, doubts.reason
        )

    def _control(self, records: Records) -> Records:
        size = sum(len(value or b"") for value in records.values)
        return Records.of([(0, None, self._header + control_body(self._file.schema, size))])

    def _insert(self, table: str, records: Records, settings: dict[str, str | int]) -> None:
        summary = self._client.raw_insert(
            table,
            self._columns.of(self._file, self.schema_id),
            self._file.build(self._partition, records.offsets, cast(list[bytes], records.values)),
            settings=settings,
            fmt="Avro",
        )
        _confirm(summary, table, len(records))


def _groups(batch: InsertBatch) -> list[tuple[bytes, Records]]:
    """The records of each wire header, the largest group first: if ClickHouse takes that one it refuses no other for
    its size, so a batch that is refused for its size is not in the tables in part."""
    if len(batch.headers) == 1:
        return [(header, batch.records) for header in batch.headers]
    return sorted(batch.records.by_header().items(), key=lambda group: group[1].size, reverse=True)


def _confirm(summary: QuerySummary, table: str, sent: int) -> None:
    """Raises `UnconfirmedInsert` unless ClickHouse says that it wrote all rows. Rows that views write and rows that it
    drops because they were written before count as well."""
    written = int(summary.summary.get("written_rows", 0))
    if written < sent:
        raise UnconfirmedInsert(f"ClickHouse answered without an error, but wrote {written} of {sent} rows to {table}")
