"""A synthetic history, generated inside ClickHouse: the events of a busy platform in a window of time.

The rows pass through the landing tables and the materialised views like real events. Equal arguments give equal rows,
so the examples of the documentation have outputs, and benches have data of any size. The SQL files of this folder
define the workload.
"""

from collections.abc import Callable
from datetime import datetime

from clickhouse_connect.driver.client import Client
from clickhouse_migrations.migrator import Migrator

from millstream.analytics.sql import moment, sql_file

SLICE = 500_000
"""Jobs in one insert."""


def fill(
    client: Client, jobs: int, start: datetime, seconds: int, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Insert `jobs` jobs over `seconds` from `start`, on sixteen workers; `advance` receives the jobs of each
    insert."""
    window: dict[str, str | int] = {"from": moment(start), "seconds": seconds}
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
