"""Cuts a partition's records into batches. Pure: no Kafka, no ClickHouse, no clock.

Batches of a partition follow each other without overlap or gap: each starts where the one before it ended. Offsets may
jump (transaction markers, aborted records); a range is by offsets, whatever it holds.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property

from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.records import Records


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be (`rows`, `bytes`), and when it is cut: at `target_rows` or at `age_s` seconds."""

    rows: int
    bytes: int
    age_s: float
    target_rows: int
    """Rows from which a batch is inserted whatever its age."""


@dataclass(frozen=True)
class InsertBatch:
    """The records of a range of offsets. They may be of several schemas, or of none. `repeated`: an earlier owner
    announced the range, so it is inserted exactly so."""

    range: Intent
    records: Records
    repeated: bool = False

    @cached_property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return self.records.size

    @cached_property
    def headers(self) -> frozenset[bytes]:
        """The distinct wire headers, which name the schemas; nearly always one."""
        return self.records.headers

    def before(self, index: int) -> "InsertBatch":
        """The records before this index, which is not 0, as a batch that ends at its offset."""
        return InsertBatch(Intent(self.range.start, self.records.offsets[index]), self.records.part(0, index))

    def halved(self) -> "tuple[InsertBatch, Records]":
        """The first half of the records under the token of all, and the others. There must be two at least."""
        middle = len(self.records) // 2
        shorter = self.range.cut(self.records.offsets[middle])
        return InsertBatch(shorter, self.records.part(0, middle), repeated=True), self.records.part(middle)


@dataclass(slots=True)
class PartitionBuffer:
    """Records of one partition that wait to be inserted, in offset order.

    `start` is the first offset of the next batch; None until the first record, where nothing was ever committed.
    `exact_end`: the end of the first batch, when it was announced before a crash and must be inserted exactly so;
    `cut_from`: the end at which it was announced at first, if it was cut short since.
    """

    start: int | None
    exact_end: int | None = None
    cut_from: int | None = None
    records: Records = field(default_factory=Records)
    size: int = 0
    _oldest_at: float = 0.0
    _newest_at: float = 0.0
    _reached: int = 0

    def add(self, records: Records, now: float) -> None:
        """Take records that were read at `now` (seconds, monotonic). Those below what was read before are ignored: they
        are delivered twice."""
        if not self.records.offsets:
            self._oldest_at = now
        self._newest_at = now
        lowest = max(self._reached, self.start or 0)
        if records.offsets and records.offsets[0] < lowest:
            records = records.part(bisect_left(records.offsets, lowest))
        if not records.offsets:
            return
        if self.start is None:
            self.start = records.offsets[0]
        self._reached = records.offsets[-1] + 1
        self.records.extend(records)
        self.size += records.size

    @property
    def next(self) -> int | None:
        """The next offset to read; None before the first record, where nothing was ever committed."""
        return None if self.start is None else max(self.start, self._reached)

    @property
    def missing(self) -> int:
        """Offsets that are still to be read of the range that was announced before a crash."""
        return 0 if self.exact_end is None else max(0, self.exact_end - (self.next or 0))

    def reach(self, end: int) -> None:
        """The partition ends at `end` for now; the last offsets before it may hold no record."""
        self._reached = max(self._reached, end)

    def read_again(self, start: int, announced: Intent | None = None) -> None:
        """Forget what was read from `start` on; it will be read again. `announced`: the range that was announced
        there."""
        self.start = start
        self.exact_end, self.cut_from = (announced.end, announced.cut_from) if announced else (None, None)
        self.records, self.size, self._reached = Records(), 0, 0

    def put_back(self, records: Records, now: float) -> None:
        """Take back records of the last batch, which was cut short before them."""
        if not self.records.offsets:
            self._newest_at = now
        self._oldest_at = now
        self.start = records.offsets[0]
        records.extend(self.records)
        self.records = records
        self.size = records.size

    def skip_to(self, start: int) -> None:
        """Forget what is before `start`: it is inserted already."""
        self.records = self.records.part(bisect_left(self.records.offsets, start))
        self.size = self.records.size
        self.start = start
        self._reached = max(self._reached, start)

    def cut(self, limits: BatchLimits, now: float) -> InsertBatch | None:
        """The next batch, once one of the limits is met; None before."""
        if self.start is None:
            return None
        if self.exact_end is not None:
            return self._cut_exact(Intent(self.start, self.exact_end, self.cut_from))
        if not self.records.offsets or not self._due(limits, now):
            return None
        batch = self._first(self.start, limits.rows)
        if batch.size > limits.bytes:
            batch = self._first(self.start, _fitting(batch.records, limits.bytes))
        return self._take(batch)

    def age(self, now: float) -> float:
        """How long the oldest record may have waited, in seconds; 0 when none waits."""
        return now - self._oldest_at if self.records.offsets else 0.0

    def _due(self, limits: BatchLimits, now: float) -> bool:
        full = len(self.records) >= min(limits.rows, limits.target_rows) or self.size >= limits.bytes
        return full or self.age(now) >= limits.age_s

    def _cut_exact(self, announced: Intent) -> InsertBatch | None:
        if self._reached < announced.end:
            return None
        self.exact_end = self.cut_from = None
        inside = bisect_left(self.records.offsets, announced.end)
        return self._take(InsertBatch(announced, self.records.part(0, inside), repeated=True))

    def _first(self, start: int, rows: int) -> InsertBatch:
        records = self.records.part(0, rows)
        return InsertBatch(Intent(start, records.offsets[-1] + 1), records)

    def _take(self, batch: InsertBatch) -> InsertBatch:
        self.records = self.records.part(len(batch.records))
        self.size -= batch.size
        self.start = batch.range.end
        self._oldest_at = self._newest_at
        return batch


def _fitting(records: Records, most_bytes: int) -> int:
    """How many of the first records fit into one batch: at least one."""
    size = 0
    for rows, (_, key, value) in enumerate(records):
        size += len(key or b"") + len(value or b"")
        if rows and size > most_bytes:
            return rows
    return len(records)
