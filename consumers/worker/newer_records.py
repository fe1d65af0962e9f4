"""Records with a schema id that no release has announced. They are kept aside with their offsets unfinished, so that
the next owner of their partition reads them again, and everything behind them goes on. Pure but for its log.

Producers of a newer release may have been deployed before `millstream topics apply`. But anybody who may write to a
lane can write such a record, so none of them may hold up a partition: what nobody has read when its time is over
becomes a dead letter. Order is kept all the same: the key of a record is its ordering key, whatever wrote it, so jobs
of that key wait behind it.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from millstream.consumers.kafka.assignment import Assignment
from millstream.schemas import DecodeError, UnannouncedSchema

log = structlog.get_logger(__name__)

MOST_RECORDS = 1_000
MOST_BYTES = 16 * 1024 * 1024
"""What is kept aside at most; beyond either the oldest records are given up."""

WARN_INTERVAL_S = 60.0


class HeldRecord(NamedTuple):
    """A record that was taken. `problem`: why it cannot be read; None for a job that waits behind such a record."""

    assignment: Assignment
    offset: int
    key: bytes | None
    value: bytes
    problem: DecodeError | None
    until: float

    @property
    def size(self) -> int:
        return len(self.value) + len(self.key or b"")


class NewerRecords:
    """The records that are kept aside. Not thread-safe: the poll thread owns it.

    `grace_s`: how long each waits for a worker that can read it, in seconds. `now`: seconds, monotonic.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self.held: deque[HeldRecord] = deque()
        """In the order in which they were taken; to be read only."""
        self._bytes = 0
        self._unread: Counter[tuple[Assignment, bytes | None]] = Counter()
        self._warned_at = float("-inf")

    def hold(
        self,
        assignment: Assignment,
        offset: int,
        key: bytes | None,
        value: bytes,
        problem: DecodeError | None,
        now: float,
    ) -> None:
        """Keep a record aside. Warns once a minute."""
        record = HeldRecord(assignment, offset, key, value, problem, now + self._grace_s)
        self.held.append(record)
        self._bytes += record.size
        if problem is None:
            return
        self._unread[assignment, key] += 1
        if now - self._warned_at >= WARN_INTERVAL_S:
            self._warned_at = now
            log.warning(
                "record_of_unannounced_schema",
                topic=assignment.topic,
                partition=assignment.partition,
                offset=offset,
                reason=str(problem),
                kept_aside=len(self.held),
                action=f"it waits {self._grace_s:g} s for a worker that can read it; what is behind it goes on",
            )

    def precedes(self, assignment: Assignment, key: bytes) -> bool:
        """Whether a record of this key, which is before the next one of the partition, cannot be read yet."""
        return (assignment, key) in self._unread

    def due(self, now: float) -> list[HeldRecord]:
        """Remove and return, in order, what is to be given up and the jobs that wait no more. Forgets what belongs to
        partitions that are not held any more."""
        if not self.held:
            return []
        self._remove(lambda each: not each.assignment.held)
        over = len(self.held) - MOST_RECORDS
        excess = self._bytes - MOST_BYTES
        given_up: list[HeldRecord] = []
        for each in self.held:
            if each.until > now and over <= 0 and excess <= 0:
                break
            given_up.append(each)
            over, excess = over - 1, excess - each.size
        gone = set(map(id, given_up))
        self._remove(lambda each: id(each) in gone)
        free = self._remove(lambda each: each.problem is None and not self.precedes(each.assignment, each.key or b""))
        return given_up + free

    def _remove(self, chosen: Callable[[HeldRecord], bool]) -> list[HeldRecord]:
        removed = [each for each in self.held if chosen(each)]
        for each in removed:
            self._bytes -= each.size
            if each.problem is not None:
                self._unread[each.assignment, each.key] -= 1
                if not self._unread[each.assignment, each.key]:
                    del self._unread[each.assignment, each.key]
        if removed:
            gone = set(map(id, removed))
            self.held = deque(each for each in self.held if id(each) not in gone)
        return removed


def is_unannounced(problem: DecodeError) -> bool:
    """Whether a newer release may be able to read the record."""
    return isinstance(problem.__cause__, UnannouncedSchema)
