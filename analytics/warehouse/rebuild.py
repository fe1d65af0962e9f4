"""Empties a table and everything that ClickHouse makes of it, so that the sink can fill them anew from Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import sql_file

HOUR_US = 3_600_000_000
ALL_US = 2**62
"""A moment after all rows."""


@dataclass(frozen=True)
class Loss:
    """Rows of a table that would not come back, the oldest of them from `since`."""

    table: str
    rows: int
    since: datetime


def tables_behind(client: Client, table: str) -> list[str]:
    """`table` and all tables that materialised views fill from it, directly or by way of others."""
    filled = client.query(sql_file("warehouse/filled_tables")).result_rows
    found = [table]
    for source in found:
        found += [target for reading, target in filled if reading == source and target not in found]
    return found


def losses(client: Client, table: str, again: Mapping[int, range]) -> list[Loss]:
    """What would be gone from `table` and each table behind it if they were emptied and `again`, offsets of each
    partition, were read from Kafka.

    Rows of `table` say at which offset they were. Those behind it do not, and may be kept for longer: what they hold
    from before the newest row lost, or from before the hour of the oldest one that comes back, counts as lost.
    """
    times = {str(name): str(column) for name, column in client.query(sql_file("warehouse/time_columns")).result_rows}
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
        rows, oldest = _row(client, "rows_before", {"table": name, "time": times[name], "moment": moment})
        found += [Loss(name, rows, _moment(oldest))] if rows else []
    return found


def empty(client: Client, tables: list[str]) -> None:
    """Remove all rows, and with them the memory of which inserts these came from. May be repeated.

    The last table first: until all others are empty, the first still has the rows that say what Kafka can bring back.
    """
    for table in reversed(tables):
        client.command(f"TRUNCATE TABLE {table}")


def _row(client: Client, name: str, parameters: dict[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, client.query(sql_file(f"warehouse/{name}"), parameters=parameters).result_rows[0]))


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
