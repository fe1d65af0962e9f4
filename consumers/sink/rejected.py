"""Finds records that ClickHouse rejects because of their data, as opposed to inserts that fail because the server is
unhealthy or because they are too large."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from millstream.consumers.sink.records import Records


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that is not inserted, and why."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str


class InsertFault(Enum):
    """What an error of an insert may be caused by."""

    RECORDS = auto()
    RECORDS_OR_SIZE = auto()
    """By a record that makes ClickHouse ask for too much memory or answer strangely, or by the size of the insert."""
    SIZE = auto()
    SERVER = auto()


def fault_of(error: DatabaseError) -> InsertFault:
    """What to look for after this error."""
    if error.code is not None:
        return _FAULTS.get(error.code, InsertFault.RECORDS)
    text = str(error)
    status = _HTTP_STATUS.search(text)
    if status is not None and not isinstance(error, OperationalError):
        return _FAULT_OF_STATUS.get(int(status[1]), InsertFault.SERVER)
    return InsertFault.SIZE if "timed out" in text.lower() else InsertFault.SERVER


def reason_of(error: DatabaseError) -> str:
    """What ClickHouse says, without the value that it repeats: the record itself is in the dead letter."""
    return _QUOTED_VALUE.sub(r"\1(its value)", str(error))


class Trial:
    """Tries records on a table that keeps nothing. `insert` raises what ClickHouse answers; `control` makes a valid
    record of the size of another. `doubt` says why Python takes a value for one that ClickHouse rejects."""

    def __init__(
        self,
        insert: Callable[[Records], None],
        control: Callable[[Records], Records],
        doubt: Callable[[bytes], str | None],
    ) -> None:
        self._insert = insert
        self._control = control
        self._doubt = doubt

    def rejected(self, records: Records) -> list[RejectedRecord]:
        """The records that are rejected even alone, while valid ones of their size are not. Raises `DatabaseError`
        when the server turns out to be unhealthy."""
        doubtful = {record[0]: reason for record in records if (reason := self._doubt(record[2] or b""))}
        apart = Records.of(record for record in records if record[0] in doubtful)
        others = Records.of(record for record in records if record[0] not in doubtful)
        found = find_rejected(others, self._rejection) if len(others) else []
        if len(apart):
            found += self._rejected_doubtful(apart, doubtful)
        return sorted(found, key=lambda each: each.offset)

    def _rejected_doubtful(self, records: Records, doubts: Mapping[int, str]) -> list[RejectedRecord]:
        """Those of the doubtful records that are rejected. A valid one is accepted before and after them."""
        control = self._control(records.part(0, 1))
        self._insert(control)
        if len(records) > TRIED_ALONE:
            refused = self._reason(records) is not None
            found = [RejectedRecord(*record, doubts[record[0]]) for record in records] if refused else []
        else:
            alone = (records.part(number, number + 1) for number in range(len(records)))
            found = [each for one in alone for each in find_rejected(one, self._reason)]
        if found:
            self._insert(control)
        return found

    def _rejection(self, records: Records) -> str | None:
        reason = self._reason(records)
        if reason is None or len(records) > 1:
            return reason
        # A server that is unhealthy or short of memory rejects a valid record as well; one that was so only for a
        # moment accepts this one now.
        for _ in range(CONTROLS):
            self._insert(self._control(records))
            reason = self._reason(records)
            if reason is None:
                return None
        return reason

    def _reason(self, records: Records) -> str | None:
        try:
            self._insert(records)
        except DatabaseError as error:
            if fault_of(error) in (InsertFault.RECORDS, InsertFault.RECORDS_OR_SIZE):
                return reason_of(error)[:LONGEST_REASON]
            raise
        return None


def find_rejected(records: Records, rejection: Callable[[Records], str | None]) -> list[RejectedRecord]:
    """The records that are rejected even alone, found by bisection. `rejection` returns the reason, or None when it
    accepts them."""
    reason = rejection(records)
    if reason is None:
        return []
    if len(records) == 1:
        return [RejectedRecord(*record, reason) for record in records]
    middle = len(records) // 2
    return find_rejected(records.part(0, middle), rejection) + find_rejected(records.part(middle), rejection)


TOO_MANY_PARTS = 252

TRIED_ALONE = 100
"""So many records that Python doubts are tried one by one. A flood of them is rejected when ClickHouse rejects them
together: trying 10,000 would hold the partition up for minutes."""

LONGEST_REASON = 2_000
"""Characters of a reason that are kept: ClickHouse quotes values of the record, which may be megabytes."""

CONTROLS = 2
"""How often a valid record has to be accepted where another is rejected before and after."""

_QUOTED_VALUE = re.compile(r"(Cannot parse uuid ).*?(?=: \(at row | \(for url |$)", re.DOTALL)
_HTTP_STATUS = re.compile(r"HTTP status (\d{3})")
_FAULT_OF_STATUS = {
    400: InsertFault.RECORDS_OR_SIZE,
    413: InsertFault.RECORDS_OR_SIZE,
    500: InsertFault.RECORDS_OR_SIZE,
    504: InsertFault.SIZE,
}
"""Answers without a code of ClickHouse; any other one is of something before it, or of a server that is unhealthy."""

_FAULTS = {
    **dict.fromkeys(
        (
            173,  # cannot allocate memory
            241,  # memory limit exceeded
        ),
        InsertFault.RECORDS_OR_SIZE,
    ),
    **dict.fromkeys(
        (
            158,  # too many rows
            159,  # timeout exceeded
            160,  # too slow
            209,  # socket timeout
            TOO_MANY_PARTS,
            307,  # too many bytes
            396,  # too many rows or bytes
        ),
        InsertFault.SIZE,
    ),
    **dict.fromkeys(
        (
            16,  # no such column in the table
            60,  # unknown table
            81,  # unknown database
            164,  # read-only
            192,  # unknown user
            201,  # quota exceeded
            202,  # too many simultaneous queries
            203,  # no free connection
            210,  # network error
            225,  # no Keeper
            236,  # aborted
            242,  # table is read-only
            243,  # not enough space
            279,  # all connection tries failed
            285,  # too few live replicas
            286,  # quorum not reached
            319,  # unknown status of an insert
            394,  # query was cancelled
            439,  # cannot schedule a task
            497,  # access denied
            516,  # authentication failed
            999,  # Keeper
        ),
        InsertFault.SERVER,
    ),
}
"""Errors of ClickHouse that are not caused by the data of a record alone. Any other one may be."""
