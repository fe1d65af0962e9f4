"""The records that wait for a transaction, in the order in which they are written. Pure."""

from collections.abc import Callable, Iterable, Sequence

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord

Place = tuple[Assignment, int]
"""The assignment and offset whose records are in one transaction."""


def place(record: OutgoingRecord) -> Place | None:
    """Where a record belongs; None for one that may be written at any time."""
    return None if record.assignment is None else (record.assignment, record.offset)


class OutgoingBatch:
    """Records in order. Those of one offset follow each other and are never divided.

    The ledger of an assignment counts an offset as finished when its records are appended, so that the next commit
    holds it. Whatever is left out of a transaction is counted as unfinished until it is taken.
    """

    def __init__(self) -> None:
        self.records: list[OutgoingRecord] = []
        """All records, to be read only."""
        self._left_out: set[Place] = set()
        self.bytes = 0
        """Bytes of all records."""

    def __len__(self) -> int:
        return len(self.records)

    def append(self, record: OutgoingRecord) -> None:
        """Add a record whose offset, if it has one, its ledger counts as finished."""
        self.records.append(record)
        self.bytes += len(record.value or b"")

    def extend(self, records: Sequence[OutgoingRecord]) -> None:
        """Add all records of one offset."""
        self.records += records
        for record in records:
            self.bytes += len(record.value or b"")

    def put_back(self, records: list[OutgoingRecord]) -> None:
        """Put records of an aborted transaction before all others."""
        self.records[:0] = records
        self.bytes += _bytes(records)

    def put_first(self, records: list[OutgoingRecord]) -> None:
        """Put the records of one offset, which was removed before, before all others."""
        self.put_back(records)
        self._left_out.update(filter(None, map(place, records)))

    def take(self, most_records: int, most_bytes: int) -> list[OutgoingRecord]:
        """Remove what the next transaction holds: everything, or as much as fits. Records of one offset are taken
        together, and those of the first offset in any case. What belongs to released partitions is dropped; what
        belongs to suspended ones waits."""
        taken = [each for each in self.records if each.assignment is None or each.assignment.writable]
        left: list[OutgoingRecord] = []
        if len(taken) < len(self.records) or len(taken) > most_records or self.bytes > most_bytes:
            taken, left = _divided(self.records, most_records, most_bytes)
        self.records, self.bytes = left, _bytes(left) if left else 0
        if left or self._left_out:
            self._settle({each for record in left if (each := place(record))})
        return taken

    def remove(self, wanted: Callable[[OutgoingRecord], bool]) -> dict[Place, list[OutgoingRecord]]:
        """Remove all records of each offset that has a wanted record; the ledgers count these as unfinished."""
        places = {each for record in self.records if wanted(record) and (each := place(record))}
        removed: dict[Place, list[OutgoingRecord]] = {each: [] for each in places}
        left: list[OutgoingRecord] = []
        for record in self.records:
            removed.get(each, left).append(record) if (each := place(record)) else left.append(record)
        self.records, self.bytes = left, _bytes(left)
        _reopen(places - self._left_out)
        self._left_out -= places
        return removed

    def _settle(self, left_out: set[Place]) -> None:
        """Count what is left out as unfinished, and what was left out before and is taken now as finished."""
        for assignment, offset in self._left_out - left_out:
            if assignment.held:
                assignment.finish(offset)
        _reopen(left_out - self._left_out)
        self._left_out = left_out


def _divided(
    records: list[OutgoingRecord], most_records: int, most_bytes: int
) -> tuple[list[OutgoingRecord], list[OutgoingRecord]]:
    taken: list[OutgoingRecord] = []
    left: list[OutgoingRecord] = []
    size, full, last = 0, False, None
    for record in records:
        assignment, here = record.assignment, place(record)
        if assignment is not None and not assignment.writable:
            if assignment.held:
                left.append(record)
            continue
        if here is None or here != last:
            full = full or len(taken) >= most_records or (bool(taken) and size + record.size > most_bytes)
        last = here
        (left if full else taken).append(record)
        size += record.size
    return taken, left


def _reopen(places: Iterable[Place]) -> None:
    offsets: dict[Assignment, list[int]] = {}
    for assignment, offset in places:
        offsets.setdefault(assignment, []).append(offset)
    for assignment, each in offsets.items():
        assignment.reopen(each)


def _bytes(records: Iterable[OutgoingRecord]) -> int:
    return sum(len(each.value or b"") for each in records)
