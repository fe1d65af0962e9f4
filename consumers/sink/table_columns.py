"""Which fields of a schema have columns in the tables, and which are left out because they have none.

A newer release may write fields for which the tables have no columns yet. Their records are inserted without them. The
columns are then asked for again every minute, so a column that is added is filled from then on; `millstream sink
rewind` fills it for what came before.
"""

import threading
import time
from collections.abc import Callable, Collection

import structlog
from clickhouse_connect.driver.client import Client

from millstream.consumers.sink.avro_file import FRAME_COLUMNS, AvroFile
from millstream.consumers.sink.sources import Source
from millstream.consumers.sink.status import SinkStatus

log = structlog.get_logger("millstream.sink")

ASK_AGAIN_S = 60.0


class TablesTooOld(RuntimeError):
    """The landing table cannot check the frames of records. `millstream migrate` adds what it lacks; until then the
    insert is repeated."""


class TableColumns:
    """The columns of a source's landing table and of the table that it fills. Thread-safe."""

    def __init__(
        self, client: Client, source: Source, status: SinkStatus, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is in seconds."""
        self._client = client
        self._source = source
        self._status = status
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[frozenset[str], frozenset[str]] | None = None
        self._asked_at = 0.0
        self._left_out: dict[int, frozenset[tuple[str, str]]] = {}

    def of(self, file: AvroFile, schema_id: int) -> list[str]:
        """The fields of the file that are inserted; columns without a field get their default. Warns once of each
        field that is left out. Raises `TablesTooOld`, and what clickhouse-connect raises."""
        with self._lock:
            landing, table = self._columns(new_schema=schema_id not in self._left_out)
            missing = left_out(file.body_fields, landing, table, self._source)
            new = missing - self._left_out.get(schema_id, frozenset())
            self._left_out[schema_id] = missing
            self._status.fields_left_out = len({field for each in self._left_out.values() for _, field in each})
        for name in sorted({name for _, name in new}):
            log.warning(
                "field_without_column",
                field=name,
                schema_id=schema_id,
                tables=sorted(of for of, field in new if field == name),
                action="add the column to these tables; the sink fills it from then on, and "
                f"`millstream sink rewind {self._source.table}` what came before",
            )
        return [name for name in file.field_names if name in landing]

    def forget(self) -> None:
        """Ask again before the next insert: a table may have changed."""
        with self._lock:
            self._known = None

    def _columns(self, *, new_schema: bool) -> tuple[frozenset[str], frozenset[str]]:
        late = any(self._left_out.values()) and self._clock() - self._asked_at >= ASK_AGAIN_S
        if self._known is None or new_schema or late:
            landing = self._described(self._source.landing_table)
            if not landing >= FRAME_COLUMNS:
                raise TablesTooOld(
                    f"{self._source.landing_table} has no columns {' and '.join(sorted(FRAME_COLUMNS))}, by which it "
                    "checks where a record ends; run millstream migrate"
                )
            self._known = landing, self._described(self._source.table)
            self._asked_at = self._clock()
        return self._known

    def _described(self, table: str) -> frozenset[str]:
        return frozenset(row[0] for row in self._client.query(f"DESCRIBE TABLE {table}").result_rows)


def left_out(
    fields: Collection[str], landing: Collection[str], table: Collection[str], source: Source
) -> frozenset[tuple[str, str]]:
    """The tables that lack a column for a field, and the field. What the landing table has and the table behind it has
    not is dropped between them."""
    columns = {source.landing_table: landing, source.table: table}
    return frozenset((name, field) for field in fields for name, known in columns.items() if field not in known)
