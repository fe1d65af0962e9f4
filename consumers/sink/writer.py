"""Inserts a batch into ClickHouse, all of it and only once, and finds the records that ClickHouse cannot read.

The token of an insert depends on nothing but the range of offsets, so ClickHouse drops a repeat, whatever happened to
the first try: one that arrived half way is completed. That holds because a batch is always one block (its settings see
to it) of the same rows in the same order.

When ClickHouse refuses a batch, halves of it go to a check table, which reads the same columns and keeps nothing, until
the records at fault are alone. The batch without them is then inserted under the same token. So looking for them
writes no row, and a repeat after a crash is dropped as ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.consumers.sink.avro_file import HEADER_BYTES, AvroFile
from millstream.consumers.sink.batch import Batch
from millstream.consumers.sink.records import Record, Records
from millstream.consumers.sink.sources import Source
from millstream.schemas.codec import DecodeError, schema_id_of
from millstream.schemas.registry import Registry, UnknownSchema

MOST_ROWS = 1_000_000
"""Largest batch: more rows than this would be more than one block."""

INSERT_SETTINGS: dict[str, str | int] = {
    # One insert is one block, formed of the same rows each time.
    "max_insert_block_size": MOST_ROWS + 1,
    "min_insert_block_size_rows": MOST_ROWS + 1,
    "min_insert_block_size_bytes": 0,
    "input_format_parallel_parsing": 0,
    # Not handed to a background buffer: the answer means that the rows are in.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "materialized_views_ignore_errors": 0,
    # Late events may belong to any number of days.
    "max_partitions_per_insert_block": 0,
    # In a cluster the answer means that the rows are on their shards.
    "distributed_foreground_insert": 1,
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is not inserted, and why."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch."""

    rows: int
    unreadable: list[Unreadable]


class Writer:
    """Inserts the batches of one topic. Thread-safe."""

    def __init__(self, client: Client, registry: Registry, source: Source, topic: str, topic_id: str) -> None:
        """`topic_id` tells apart topics of one name: the offsets of a topic made anew start from 0 again."""
        self._client = client
        self._registry = registry
        self._identity = f"{topic}:{topic_id}"
        self._source = source
        self._files: dict[bytes, AvroFile] = {}
        self._columns: frozenset[str] = frozenset()

    def write(self, partition: int, batch: Batch) -> Written:
        """Insert the batch; when this returns, its readable records are in ClickHouse exactly once.

        Raises what clickhouse-connect raises while ClickHouse is unreachable or unwell, and what the registry raises
        while it is; the caller repeats the call as often as it takes.
        """
        file, readable, unreadable = self._sort_out(batch)
        if file is None:
            return Written(0, unreadable)
        token = f"{self._identity}:{partition}:{batch.range.start}:{batch.range.end}"
        try:
            self._insert(self._source.landing_table, file, partition, readable, token)
        except DatabaseError as error:
            if error.code is None:
                raise
            refused = find_refused(readable, lambda some: self._refusal(file, partition, some))
            if not refused:
                raise
            unreadable += refused
            bad = {found.offset for found in refused}
            readable = Records.of(record for record in readable if record[0] not in bad)
            if len(readable):
                self._insert(self._source.landing_table, file, partition, readable, token)
        return Written(len(readable), unreadable)

    def _sort_out(self, batch: Batch) -> tuple[AvroFile | None, Records, list[Unreadable]]:
        """How to write the batch's schema, the records written with it, and those that are not events."""
        unreadable: list[Unreadable] = []
        known = self._files.get(next(iter(batch.headers))) if len(batch.headers) == 1 else None
        if known:
            return known, batch.records, unreadable
        readable: list[Record] = []
        found: AvroFile | None = None
        for record in batch.records:
            value = record[2]
            header = value[:HEADER_BYTES] if value else b""
            try:
                found = self._files.get(header) or self._file(header)
                readable.append(record)
            except (DecodeError, UnknownSchema) as error:
                unreadable.append(Unreadable(*record, str(error)))
        return found, Records.of(readable), unreadable

    def _file(self, header: bytes) -> AvroFile:
        schema_id = schema_id_of(header)
        schema = self._registry.schema_of(schema_id)
        if schema["name"] != self._source.record:
            raise DecodeError(f"schema {schema_id} is {schema['name']}, not {self._source.record}")
        self._files[header] = AvroFile(schema)
        return self._files[header]

    def _refusal(self, file: AvroFile, partition: int, records: Records) -> str | None:
        """Why ClickHouse does not read these records; None when it does."""
        try:
            self._insert(self._source.check_table, file, partition, records, token="")
        except DatabaseError as error:
            if error.code is None:
                raise
            if len(records) == 1:
                # Were ClickHouse unwell, it would refuse a file without records as well.
                self._insert(self._source.check_table, file, partition, Records(), token="")
            return str(error)
        return None

    def _insert(self, table: str, file: AvroFile, partition: int, records: Records, token: str) -> None:
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token} if token else INSERT_SETTINGS
        self._client.raw_insert(
            table,
            # A field that the table does not know yet is left out; a column that the schema does not have is defaulted.
            [name for name in file.field_names if name in self._known_columns()],
            file.build(partition, records.offsets, cast(list[bytes], records.values)),
            settings=settings,
            fmt="Avro",
        )

    def _known_columns(self) -> frozenset[str]:
        if not self._columns:
            described = self._client.query(f"DESCRIBE TABLE {self._source.landing_table}")
            self._columns = frozenset(row[0] for row in described.result_rows)
        return self._columns


def find_refused(records: Records, refusal: Callable[[Records], str | None]) -> list[Unreadable]:
    """The records that `refusal` refuses even alone, by halving; `refusal` gives the reason, or None."""
    reason = refusal(records)
    if reason is None:
        return []
    if len(records) == 1:
        return [Unreadable(*record, reason) for record in records]
    middle = len(records) // 2
    return find_refused(records.part(0, middle), refusal) + find_refused(records.part(middle), refusal)
