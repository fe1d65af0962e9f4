"""Keeps every sink, of any release, from inserting while tables are changed or repaired.

A row is missing from a table if it is inserted while the view that fills the table is being made. Sinks insert into
landing tables. While those have a column whose value throws, ClickHouse rejects the inserts; the sinks repeat them
until the column is gone, and their records wait in Kafka. An insert keeps the columns that its table had when it began,
so once those that began before have ended, there is none.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import identifier, rows, sql_file, statement

MESSAGE = "millstream: inserts are paused"
"""What the errors of paused inserts contain; sinks look for it."""

PAUSED_BY = "paused_by_"
"""What the name of a column begins with that makes ClickHouse reject inserts; the command's name follows."""

ENDS_WITHIN_S = 600.0
"""How long inserts that began before a pause may take."""

ASK_AGAIN_S = 0.1


class InsertsGoOn(RuntimeError):
    """Inserts that began before the pause have not ended. They are still paused for all others."""


class InsertPause:
    """A pause of all inserts by sinks. It outlasts this process: one that ends half way leaves sinks waiting, until the
    same command has succeeded."""

    def __init__(self, client: Client, command: str, cluster: str = "") -> None:
        """`command`: the subcommand that pauses. `cluster`: as in `migrate`."""
        self._client = client
        self._command = command
        self._cluster = cluster
        self._on_cluster = f" ON CLUSTER {identifier(cluster)}" if cluster else ""
        self._column = identifier(PAUSED_BY + command.replace(" ", "_"))

    def begin(self) -> None:
        """Returns when no insert is under way and none can begin. Raises `InsertsGoOn`."""
        reason = f"{MESSAGE} by millstream {self._command}"
        for table in self._landing_tables():
            self._client.command(
                f"ALTER TABLE {table}{self._on_cluster} ADD COLUMN IF NOT EXISTS {self._column} UInt8 "
                f"MATERIALIZED throwIf(kafka_partition > -2, '{reason}')"
            )
        deadline = time.monotonic() + ENDS_WITHIN_S
        while under_way := self._under_way():
            if time.monotonic() > deadline:
                raise InsertsGoOn(f"{under_way} inserts that began before the pause still run; run this command again")
            time.sleep(ASK_AGAIN_S)

    def end(self) -> None:
        """Let sinks insert again. Does nothing when there is no pause."""
        for column, table in _paused_columns(self._client):
            if column == self._column:
                self._client.command(f"ALTER TABLE {table}{self._on_cluster} DROP COLUMN IF EXISTS {column}")

    def _landing_tables(self) -> list[str]:
        return [identifier(str(name)) for (name,) in rows(self._client, sql_file("warehouse/landing_tables"))]

    def _under_way(self) -> int:
        processes = "system.processes"
        if self._cluster:
            processes = f"clusterAllReplicas({identifier(self._cluster)}, {processes})"
        ((count,),) = rows(self._client, statement("warehouse/inserts_under_way", processes=processes))
        return int(count)


def pausing(client: Client) -> list[str]:
    """The commands that pause inserts at the moment, or were interrupted while they did."""
    names = dict.fromkeys(column.strip("`") for column, _ in _paused_columns(client))
    return [name.removeprefix(PAUSED_BY).replace("_", " ") for name in names]


@contextmanager
def inserts_paused(client: Client, command: str) -> Iterator[None]:
    """No sink inserts within the block; they do after it, whatever happened in it."""
    pause = InsertPause(client, command)
    try:
        pause.begin()
        yield
    finally:
        pause.end()


def _paused_columns(client: Client) -> list[tuple[str, str]]:
    """The columns that make ClickHouse reject inserts, each with its table, as identifiers."""
    found = rows(client, sql_file("warehouse/paused_columns"))
    return [(identifier(str(column)), identifier(str(table))) for column, table in found]
