"""Rebuilds the minutes and hours of tables that disagree with the raw rows.

A table's periods are made again by the queries of the views that fill it, from the table that those read, in the order
in which ClickHouse fills them. The new rows are put in place of the old ones partition by partition, each in one step,
through a copy of the partition: readers never miss rows, no view passes rows on, and the tokens by which repeated
inserts are dropped stay. A repair that is interrupted has repaired some partitions; the next one does the rest.

Nothing may be inserted meanwhile (`pause.py`). Rows that a sink has announced and not acknowledged may still be missing
from some tables only because the insert has not ended: it will be repeated, so their periods are left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import identifier, rows, sql_file
from millstream.analytics.warehouse.rebuild import tables_behind
from millstream.analytics.warehouse.reconciliation.differing import DifferingPeriod, differing_periods, width

MOST_PERIODS = 5_000
"""Periods that are rebuilt at once; they are listed in the statements."""

Announced = Mapping[str, Mapping[int, range]]
"""Raw table -> partition -> offsets that a sink has announced and not acknowledged."""

TIMES = {"job_events": ("occurred_at", "submitted_at"), "worker_heartbeats": ("occurred_at", "occurred_at")}
"""The times of each raw table by which the tables behind it have their periods."""


@dataclass(frozen=True)
class Repair:
    """What was rebuilt, and what was not: `announced`, as a sink will insert into it, and `without_raw_rows`."""

    rebuilt: list[DifferingPeriod]
    announced: list[DifferingPeriod]
    without_raw_rows: list[DifferingPeriod]


def repair(client: Client, since: datetime, until: datetime, announced: Announced) -> Repair:
    """Rebuild what disagrees and begins in [since, until). Call it while nothing is inserted. Idempotent."""
    done = Repair([], [], [])
    times = {str(name): str(column) for name, column in rows(client, sql_file("warehouse/time_columns"))}
    for raw in TIMES:
        open_minutes = _minutes(client, raw, announced.get(raw, {}))
        for table in tables_behind(client, raw)[1:]:
            rebuild = []
            # In this order, so that a table is compared and rebuilt after those that it is made from.
            for each in differing_periods(client, since, until, [table], looks=1):
                if not each.can_be_rebuilt:
                    done.without_raw_rows.append(each)
                elif any(each.start <= minute < each.end for minute in open_minutes):
                    done.announced.append(each)
                else:
                    rebuild.append(each)
            for first in range(0, len(rebuild), MOST_PERIODS):
                _rebuild(client, table, times[table], rebuild[first : first + MOST_PERIODS])
            done.rebuilt.extend(rebuild)
    return done


def _minutes(client: Client, table: str, announced: Mapping[int, range]) -> set[datetime]:
    if not announced:
        return set()
    time, other_time = TIMES[table]
    parameters = {
        "table": table,
        "time": time,
        "other_time": other_time,
        "partitions": list(announced),
        "firsts": [offsets.start for offsets in announced.values()],
        "ends": [offsets.stop for offsets in announced.values()],
    }
    return {minute for (minute,) in rows(client, sql_file("warehouse/minutes_of_offsets"), parameters)}


def _rebuild(client: Client, table: str, time: str, periods: Sequence[DifferingPeriod]) -> None:
    kept, rebuilt = identifier(f"{table}_repair"), identifier(f"{table}_rebuilt")
    within = _within(table, time, periods)
    for copy in (kept, rebuilt):
        client.command(f"DROP TABLE IF EXISTS {copy}")
        client.command(f"CREATE TABLE {copy} AS {identifier(table)}")
    for _, query in rows(client, sql_file("warehouse/filling_views"), {"table": table}):
        names = ", ".join(identifier(str(row[0])) for row in rows(client, f"DESCRIBE ({query})"))
        client.command(
            f"INSERT INTO {rebuilt} ({names}) SELECT {names} FROM ({query}) WHERE {within}",
            settings={"max_partitions_per_insert_block": 0},
        )
    # What is replaced is whole partitions, so a copy of each has to have its other periods as well.
    partitions = _partitions(client, rebuilt)
    for partition in partitions:
        client.command(f"ALTER TABLE {kept} ATTACH PARTITION ID '{partition}' FROM {identifier(table)}")
    client.command(f"ALTER TABLE {kept} DELETE WHERE {within} SETTINGS mutations_sync = 2")
    for partition in partitions:
        client.command(f"ALTER TABLE {kept} ATTACH PARTITION ID '{partition}' FROM {rebuilt}")
    for partition in partitions:
        client.command(f"ALTER TABLE {identifier(table)} REPLACE PARTITION ID '{partition}' FROM {kept}")
    for copy in (kept, rebuilt):
        client.command(f"DROP TABLE {copy}")


def _partitions(client: Client, table: str) -> list[str]:
    found = rows(client, f"SELECT DISTINCT _partition_id FROM {table} ORDER BY 1")
    return [str(partition) for (partition,) in found]


def _within(table: str, time: str, periods: Sequence[DifferingPeriod]) -> str:
    """The condition that a row is of one of these periods. The first part of it lets ClickHouse leave out most rows."""
    seconds = int(width(table).total_seconds())
    starts = sorted(int(each.start.replace(tzinfo=each.start.tzinfo or UTC).timestamp()) for each in periods)
    column = identifier(time)
    since, until = (f"toDateTime({moment}, 'UTC')" for moment in (starts[0], starts[-1] + seconds))
    start = f"toUnixTimestamp(toDateTime({column}, 'UTC')) - toUnixTimestamp(toDateTime({column}, 'UTC')) % {seconds}"
    return f"({column} >= {since} AND {column} < {until} AND {start} IN ({', '.join(map(str, starts))}))"
