"""Which records ClickHouse refuses, told apart from what it refuses because it is unwell."""

from collections.abc import Callable
from dataclasses import dataclass

from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.consumers.sink.records import Records


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is not inserted, and why."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str


def find_rejected(records: Records, refusal: Callable[[Records], str | None]) -> list[Unreadable]:
    """The records that `refusal` refuses even alone, by halving; `refusal` gives the reason, or None."""
    reason = refusal(records)
    if reason is None:
        return []
    if len(records) == 1:
        return [Unreadable(*record, reason) for record in records]
    middle = len(records) // 2
    return find_rejected(records.part(0, middle), refusal) + find_rejected(records.part(middle), refusal)


def may_be_the_data(error: DatabaseError) -> bool:
    """Whether an error may come from what was inserted. What has no code never reached ClickHouse."""
    return error.code is not None and error.code not in _OF_THE_SERVER


_OF_THE_SERVER = frozenset(
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
"""Errors of ClickHouse that never come from what is inserted. Any other one may."""
