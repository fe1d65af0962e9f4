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

from millstream.analytics.sql import identifier, rows

MESSAGE = "millstream: inserts are paused"
"""What the errors of paused inserts contain; sinks look for it."""

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
        self._column = identifier(f"paused_by_{command.replace(' ', '_')}")

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
        paused = rows(
            self._client,
            "SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() AND name = {column:String}",
            {"column": self._column.strip("`")},
        )
        for (table,) in paused:
            self._client.command(
                f"ALTER TABLE {identifier(str(table))}{self._on_cluster} DROP COLUMN IF EXISTS {self._column}"
            )

    def _landing_tables(self) -> list[str]:
        found = rows(
            self._client,
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'Null' "
            "AND match(name, '_landing(_local)?$') ORDER BY name",
        )
        return [identifier(str(name)) for (name,) in found]

    def _under_way(self) -> int:
        processes = f"clusterAllReplicas({identifier(self._cluster)}, system.processes)" if self._cluster else ""
        ((count,),) = rows(
            self._client,
            f"SELECT count() FROM {processes or 'system.processes'} WHERE query_kind = 'Insert' "
            "AND current_database = currentDatabase() AND match(query, '_landing(_local)?\\\\b')",
        )
        return int(count)


def pausing(client: Client) -> list[str]:
    """The commands that pause inserts at the moment, or were interrupted while they did."""
    found = rows(
        client,
        "SELECT DISTINCT name FROM system.columns WHERE database = currentDatabase() AND name LIKE 'paused\\_by\\_%' "
        "ORDER BY name",
    )
    return [str(name).removeprefix("paused_by_").replace("_", " ") for (name,) in found]


@contextmanager
def inserts_paused(client: Client, command: str) -> Iterator[None]:
    """No sink inserts within the block; they do after it, whatever happened in it."""
    pause = InsertPause(client, command)
    try:
        pause.begin()
        yield
    finally:
        pause.end()
