"""Finds records that ClickHouse rejects because of their data, as opposed to inserts that fail because the server is
unhealthy."""

from collections.abc import Callable
from dataclasses import dataclass

from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.consumers.sink.records import Records


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that is not inserted, and why."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str


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


def is_caused_by_data(error: DatabaseError) -> bool:
    """Whether an error may be caused by what was inserted. One without a code never reached ClickHouse."""
    return error.code is not None and error.code not in _SERVER_ERRORS


_SERVER_ERRORS = frozenset(
    {
        16,  # no such column in the table
        60,  # unknown table
        81,  # unknown database
        159,  # timeout exceeded
        160,  # too slow
        164,  # read-only
        173,  # cannot allocate memory
        192,  # unknown user
        201,  # quota exceeded
        202,  # too many simultaneous queries
        203,  # no free connection
        209,  # socket timeout
        210,  # network error
        225,  # no Keeper
        236,  # aborted
        241,  # memory limit exceeded
        242,  # table is read-only
        243,  # not enough space
        252,  # too many parts
        279,  # all connection tries failed
        285,  # too few live replicas
        286,  # quorum not reached
        319,  # unknown status of an insert
        394,  # query was cancelled
        439,  # cannot schedule a task
        497,  # access denied
        516,  # authentication failed
        999,  # Keeper
    }
)
"""Errors of ClickHouse that are never caused by what is inserted. Any other one may be."""
