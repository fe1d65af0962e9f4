"""Cuts a partition's records into batches. Pure: no Kafka, no ClickHouse, no clock.

Batches of a partition follow each other without overlap or gap: each starts where the one before it ended. Offsets may
jump (transaction markers, aborted records); a range is by offsets, whatever it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from millstream.consumers.sink.avro_file import HEADER_BYTES
from millstream.consumers.sink.intent import Intent

Record = tuple[int, bytes | None, bytes | None]
"""Offset, key and value of one Kafka record. A bare tuple: the garbage collector soon stops looking at those, and with
hundreds of thousands of any other object waiting here it would take longer than all other work on them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be (`rows`, `bytes`), and when it is cut: at so many rows or at this age in seconds."""

    rows: int
    bytes: int
    seconds: float
    worthwhile_rows: int
    """So many rows are worth an insert whatever their age."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of the range. At most one schema id occurs among those in the wire format."""

    range: Intent
    records: list[Record]
    size: int


@dataclass(slots=True)
class PartitionBuffer:
    """Records of one partition that wait to be inserted, in offset order.

    `start` is the first offset of the next batch; None until the first record, where nothing was ever committed.
    `exact_end`, when given, is the end of the first batch: it was announced before a crash and is inserted as it was.
    """

    start: int | None
    exact_end: int | None = None
    records: list[Record] = field(default_factory=list)
    size: int = 0
    _oldest_at: float = 0.0
    _newest_at: float = 0.0
    _reached: int = 0

    def add(self, records: Sequence[Record], now: float) -> None:
        """Take records that were read at `now` (seconds, monotonic). Those below what was read before are ignored."""
        if not self.records:
            self._oldest_at = now
        self._newest_at = now
        lowest = max(self._reached, self.start or 0)
        if records and records[0][0] < lowest:
            records = [record for record in records if record[0] >= lowest]
        if not records:
            return
        if self.start is None:
            self.start = records[0][0]
        self._reached = records[-1][0] + 1
        self.records += records
        self.size += sum(len(value) for _, _, value in records if value)

    def reach(self, end: int) -> None:
        """The partition ends at `end` for now; the last offsets before it may hold no record."""
        self._reached = max(self._reached, end)

    def cut(self, limits: Limits, now: float) -> Batch | None:
        """The next batch, once one of the limits is met; None before."""
        if self.start is None:
            return None
        if self.exact_end is not None:
            return self._cut_exact(self.start, self.exact_end)
        if not self.records or not self._due(limits, now):
            return None
        rows, size = self._prefix(limits)
        return self._take(self.start, self.records[rows - 1][0] + 1, rows, size)

    def _due(self, limits: Limits, now: float) -> bool:
        full = len(self.records) >= min(limits.rows, limits.worthwhile_rows) or self.size >= limits.bytes
        return full or now - self._oldest_at >= limits.seconds

    def _cut_exact(self, start: int, end: int) -> Batch | None:
        if self._reached < end:
            return None
        self.exact_end = None
        inside = [len(value or b"") for offset, _, value in self.records if offset < end]
        return self._take(start, end, len(inside), sum(inside))

    def _prefix(self, limits: Limits) -> tuple[int, int]:
        """Number and size of the first records that fit into one batch: at least one, one schema id only."""
        if len(self.records) <= limits.rows and self.size <= limits.bytes and self._one_schema():
            return len(self.records), self.size
        header: bytes | None = None
        size = 0
        for rows, (_, _, read) in enumerate(self.records[: limits.rows]):
            value = read or b""
            if len(value) >= HEADER_BYTES and value[0] == 0:
                if header is None:
                    header = value[:HEADER_BYTES]
                elif value[:HEADER_BYTES] != header:
                    return rows, size
            if rows and size + len(value) > limits.bytes:
                return rows, size
            size += len(value)
        return min(len(self.records), limits.rows), size

    def _one_schema(self) -> bool:
        """Whether every record begins with the same header, as nearly always."""
        return len({value[:HEADER_BYTES] if value else b"" for _, _, value in self.records}) == 1

    def _take(self, start: int, end: int, rows: int, size: int) -> Batch:
        taken, self.records = self.records[:rows], self.records[rows:]
        self.size -= size
        self.start = end
        self._oldest_at = self._newest_at
        return Batch(Intent(start, end), taken, size)
