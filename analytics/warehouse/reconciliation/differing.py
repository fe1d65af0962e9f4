"""In which minutes and hours do the tables that ClickHouse fills by itself disagree with the raw rows?

An insert reaches the tables one after the other, so they disagree for a moment. What is reported here has disagreed
several times in a row. Only times are compared for which no raw row has expired.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import rows, statement
from millstream.analytics.warehouse.reconciliation.disagreements import queries, rollup_names

LOOKS = 3
LOOK_AGAIN_S = 1.0

RAW_TABLES = {"worker_usage": "worker_heartbeats"}
"""The raw table of each table that is not made from `job_events`."""


@dataclass(frozen=True)
class DifferingPeriod:
    """A minute or an hour of a table whose rows are not those that its raw rows give."""

    table: str
    start: datetime
    rows_in_table: int
    rows_from_raw: int

    @property
    def end(self) -> datetime:
        """When the period ends."""
        return self.start + width(self.table)

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether there are raw rows of it. If not, they may be lost, and the table may have the only trace of them."""
        return self.rows_from_raw > 0


@dataclass(frozen=True)
class DifferingRange:
    """Periods of a table that follow each other without a gap, from `start` to before `end`, and sums of their rows."""

    table: str
    start: datetime
    end: datetime
    periods: int
    rows_in_table: int
    rows_from_raw: int


def ranges(found: Iterable[DifferingPeriod]) -> list[DifferingRange]:
    """Periods, which are in the order of time for each table, joined to ranges."""
    joined: list[DifferingRange] = []
    for each in found:
        rows_of = (each.rows_in_table, each.rows_from_raw)
        if joined and (joined[-1].table, joined[-1].end) == (each.table, each.start):
            last = joined[-1]
            joined[-1] = replace(
                last,
                end=each.end,
                periods=last.periods + 1,
                rows_in_table=last.rows_in_table + rows_of[0],
                rows_from_raw=last.rows_from_raw + rows_of[1],
            )
        else:
            joined.append(DifferingRange(each.table, each.start, each.end, 1, *rows_of))
    return joined


def raw_table(table: str) -> str:
    """The table that a table is made from, directly or through others."""
    return RAW_TABLES.get(table, "job_events")


def width(table: str) -> timedelta:
    """The length of the periods in which a table is compared."""
    return timedelta(hours=1) if table.endswith("_1h") else timedelta(minutes=1)


def complete_since(raw_days: int, now: datetime) -> datetime:
    """The beginning of an hour since which no raw row has expired, or will within the next hour."""
    return (now - timedelta(days=raw_days) + timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)


def differing_periods(
    client: Client, since: datetime, until: datetime, tables: Sequence[str] = (), looks: int = LOOKS
) -> list[DifferingPeriod]:
    """The periods that begin in [since, until) and disagree each time of `looks`, of these tables or of all."""
    found: list[DifferingPeriod] = []
    for table in tables or rollup_names():
        found += _differing(client, table, since, until)
    for _ in range(looks - 1):
        if not found:
            break
        time.sleep(LOOK_AGAIN_S)
        again: list[DifferingPeriod] = []
        for table in dict.fromkeys(each.table for each in found):
            starts = [each.start for each in found if each.table == table]
            now = _differing(client, table, starts[0], starts[-1] + width(table))
            again += [each for each in now if each.start in starts]
        found = again
    return found


def _differing(client: Client, table: str, since: datetime, until: datetime) -> list[DifferingPeriod]:
    in_table, from_raw = queries(table)
    text = statement("warehouse/differing_periods", table=in_table, raw=from_raw)
    moments = {"since": since.astimezone(UTC), "until": until.astimezone(UTC)}
    return [
        DifferingPeriod(table, start, int(ours), int(theirs)) for start, ours, theirs in rows(client, text, moments)
    ]
