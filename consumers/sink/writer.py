"""Inserts a batch into ClickHouse, all of it and only once, and finds the records that ClickHouse cannot read.

Records of each schema in it, nearly always one, are an insert of their own. The token of an insert depends on nothing
but the range of offsets and the schema, so ClickHouse drops a repeat, whatever happened to the first try: one that
arrived half way is completed. That holds because an insert is always one block (its settings see to it) of the same
rows in the same order.

When ClickHouse refuses an insert, halves of it go to a check table, which reads the same columns and keeps nothing,
until the records at fault are alone. The others are then inserted under the same token. So looking for them writes no
row, and a repeat after a crash is dropped as ever.
"""

from dataclasses import dataclass
from typing import cast

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.batch import Batch
from millstream.consumers.sink.config import MOST_ROWS
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.rejected import Unreadable, find_rejected, may_be_the_data
from millstream.consumers.sink.sources import Source
from millstream.schemas.codec import DecodeError, schema_id_of
from millstream.schemas.registry import Registry, UnknownSchema

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
        rows = 0
        unreadable: list[Unreadable] = []
        headers = batch.records.headers
        groups = {headers.pop(): batch.records} if len(headers) == 1 else batch.records.by_header()
        for header, records in groups.items():
            try:
                file = self._files.get(header) or self._file(header)
            except (DecodeError, UnknownSchema) as error:
                unreadable += [Unreadable(*record, str(error)) for record in records]
                continue
            token = f"{self._identity}:{partition}:{batch.range.start}:{batch.range.end}:{schema_id_of(header)}"
            refused = self._write(file, partition, records, token)
            rows += len(records) - len(refused)
            unreadable += refused
        return Written(rows, unreadable)

    def _write(self, file: AvroFile, partition: int, records: Records, token: str) -> list[Unreadable]:
        """Insert the records of one schema; returns those that cannot be read."""
        try:
            self._insert(self._source.landing_table, file, partition, records, token)
            return []
        except DatabaseError as error:
            # Perhaps the table is another one by now.
            self._columns = frozenset()
            if not may_be_the_data(error):
                raise
            refused = find_rejected(records, lambda some: self._refusal(file, partition, some))
            if not refused:
                raise
        bad = {found.offset for found in refused}
        readable = Records.of(record for record in records if record[0] not in bad)
        if len(readable):
            self._insert(self._source.landing_table, file, partition, readable, token)
        return refused

    def _file(self, header: bytes) -> AvroFile:
        schema_id = schema_id_of(header)
        schema = self._registry.schema_of(schema_id)
        if schema["name"] != self._source.record:
            raise DecodeError(f"schema {schema_id} is {schema['name']}, not {self._source.record}")
        # A table may have got columns for it meanwhile.
        self._columns = frozenset()
        self._files[header] = AvroFile(schema)
        return self._files[header]

    def _refusal(self, file: AvroFile, partition: int, records: Records) -> str | None:
        """Why ClickHouse does not read these records; None when it does."""
        reason = self._checked(file, partition, records)
        if reason is None or len(records) > 1:
            return reason
        # Were ClickHouse unwell, it would refuse a file without records as well; were it unwell just now, not again.
        self._insert(self._source.check_table, file, partition, Records(), token="")
        return self._checked(file, partition, records)

    def _checked(self, file: AvroFile, partition: int, records: Records) -> str | None:
        try:
            self._insert(self._source.check_table, file, partition, records, token="")
        except DatabaseError as error:
            if may_be_the_data(error):
                return str(error)
            raise
        return None

    def _insert(self, table: str, file: AvroFile, partition: int, records: Records, token: str) -> None:
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token} if token else INSERT_SETTINGS
        known = self._known_columns()
        self._client.raw_insert(
            table,
            # A field that the table does not know yet is left out; a column that the schema does not have is defaulted.
            [name for name in file.field_names if name in known],
            file.build(partition, records.offsets, cast(list[bytes], records.values)),
            settings=settings,
            fmt="Avro",
        )

    def _known_columns(self) -> frozenset[str]:
        columns = self._columns
        if not columns:
            described = self._client.query(f"DESCRIBE TABLE {self._source.landing_table}")
            self._columns = columns = frozenset(row[0] for row in described.result_rows)
        return columns
