"""Empties a table and all tables filled from it, so that the sink can fill them again from Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import rows, sql_file

HOUR_US = 3_600_000_000
ALL_US = 2**62
"""Later than all rows."""


@dataclass(frozen=True)
class Loss:
    """Rows of a table that cannot be read again, the oldest of them from `since`."""

    table: str
    rows: int
    since: datetime


def tables_behind(client: Client, table: str) -> list[str]:
    """`table` and all tables that materialised views fill from it, directly or through others."""
    filled = rows(client, sql_file("warehouse/filled_tables"))
    found = [table]
    for source in found:
        found += [target for reading, target in filled if reading == source and target not in found]
    return found


def losses(client: Client, table: str, again: Mapping[int, range]) -> list[Loss]:
    """Rows that `table` and each table behind it lose if they are emptied and the offsets `again` of each partition are
    read from Kafka.

    Rows of `table` carry their offset. Rows behind it do not, and may be kept for longer: those from before the newest
    lost row, or from before the hour of the oldest row that is read again, count as lost.
    """
    times = {str(name): str(column) for name, column in rows(client, sql_file("warehouse/time_columns"))}
    columns = {
        "partitions": list(again),
        "firsts": [offsets.start for offsets in again.values()],
        "ends": [offsets.stop for offsets in again.values()],
    }
    lost, oldest_lost, newest_lost, kept, oldest_kept = _row(
        client, "rows_not_read_again", {"table": table, "time": times[table], **columns}
    )
    found = [Loss(table, lost, _moment(oldest_lost))] if lost else []
    reached = oldest_kept // HOUR_US * HOUR_US if kept else ALL_US
    moment = max(reached, newest_lost + 1) if lost else reached
    for name in tables_behind(client, table)[1:]:
        count, oldest = _row(client, "rows_before", {"table": name, "time": times[name], "moment": moment})
        found += [Loss(name, count, _moment(oldest))] if count else []
    return found


def empty(client: Client, tables: list[str]) -> None:
    """Remove all rows, and with them the deduplication tokens of their inserts. Idempotent.

    The last table first: the first one keeps the offsets by which `losses` is computed until all others are empty.
    """
    for table in reversed(tables):
        client.command(f"TRUNCATE TABLE {table}")


def _row(client: Client, name: str, parameters: dict[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, rows(client, sql_file(f"warehouse/{name}"), parameters)[0]))


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
