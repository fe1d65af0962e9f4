"""A record to write in a transaction, and the assignment that allows it."""

from collections.abc import Iterable
from typing import NamedTuple

from millstream.consumers.kafka.assignment import Assignment


class OutgoingRecord(NamedTuple):
    """A record to write. One with an `assignment` may be written only while that partition is held, together with its
    `offset`: the records of one offset are all in one transaction. One without an assignment may be written at any
    time. A record without a value deletes its key from a compacted topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    assignment: Assignment | None = None
    offset: int = -1

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.value or b"") + len(self.key or b"")


def total_size(records: Iterable[OutgoingRecord]) -> int:
    """Bytes of the keys and values of all records."""
    return sum(each.size for each in records)
