"""Pretended history, made inside ClickHouse: what a busy platform would have done in a window of time.

It takes the way of real events, through the landing tables and everything behind them. Equal arguments give equal rows,
so the examples of the documentation have outputs, and benches have data of any size. The SQL says what is pretended.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from clickhouse_migrations.migrator import Migrator

from millstream.analytics.sql import sql_file

SLICE = 500_000
"""Jobs of one insert."""


def fill(
    client: Client, jobs: int, start: datetime, seconds: int, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Pretend `jobs` jobs in `seconds` from `start`, on sixteen workers; calls `advance` with jobs done since last."""
    moment = start.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    window: dict[str, str | int] = {"from": moment, "seconds": seconds}
    for first in range(0, jobs, SLICE):
        some = min(SLICE, jobs - first)
        _run(client, "job_events", window | {"first": first, "jobs": some, "total": jobs})
        advance(some)
    _run(client, "worker_heartbeats", window)
    _run(client, "signs", window)


def _run(client: Client, name: str, parameters: dict[str, str | int]) -> None:
    text = sql_file(f"warehouse/synthetic/{name}")
    for statement in Migrator.script_to_statements(text, multi_statement=True):
        client.command(
            statement.rstrip(";"),
            parameters=parameters,
            settings={"max_insert_threads": 2, "max_partitions_per_insert_block": 0},
        )
