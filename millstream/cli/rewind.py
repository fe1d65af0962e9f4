"""`millstream sink rewind`"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.analytics.warehouse.rebuild import Loss, empty, losses, tables_behind
from millstream.cli.failure import REFUSED, Failure
from millstream.cli.kafka_access import accepted_connection, wanted_rights
from millstream.cli.options import AsJson
from millstream.cli.output import answer, err
from millstream.clickhouse import connect
from millstream.consumers.sink import (
    EVENTS,
    SinkRunning,
    check_stopped,
    offsets_at,
    read_again,
)
from millstream.consumers.sink.rewind import rewind
from millstream.consumers.sink.sources import BY_TABLE
from millstream.rights.check import missing_rights, told
from millstream.schemas.denial import RIGHTS
from millstream.settings import Settings
from millstream.terminal import styled


def rewind_command(
    start: Annotated[
        datetime | None,
        typer.Option("--from", help="Rebuild from records since then, UTC; from all records in Kafka if absent."),
    ] = None,
    table: Annotated[str, typer.Option(help=f"Table to rebuild: {', '.join(BY_TABLE)}.")] = EVENTS.table,
    yes: Annotated[bool, typer.Option("--yes", help="Continue although rows would be lost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a table and its derived tables from Kafka: empty them and rewind the sink's offsets.

    Stop every sink first and start them afterwards. Rows that Kafka has expired, or from before --from, are lost, also
    from derived tables with a longer retention. Without --yes nothing is changed if any row would be lost.

    Examples:

      millstream sink rewind

      millstream sink rewind --from 2026-11-24T00:00:00 --yes
    """
    settings = settings_module.load()
    source = BY_TABLE.get(table)
    if source is None:
        raise Failure(f"no sink fills a table {table!r}", f"choose one of {', '.join(BY_TABLE)}", 2)
    if settings.clickhouse.cluster:
        raise Failure("cannot empty tables on a cluster", "rebuild into a new database instead", 2)
    topic, group = source.topic(settings.catalogue), source.group(settings.sink.group)
    connection = accepted_connection(settings)
    try:
        check_stopped(connection, group)
    except SinkRunning as error:
        raise Failure(str(error), "stop every sink; one that was killed leaves its group after six seconds") from error
    _check_rights(settings, topic, group)
    offsets = offsets_at(connection, topic, start.replace(tzinfo=UTC) if start else None)
    client = connect(settings)
    lost = losses(client, table, read_again(connection, topic, offsets))
    if lost and not yes:
        found = ", ".join(map(_sentence, lost))
        raise Failure(
            f"these rows can no longer be read from Kafka (expired, or before --from) and would be lost: {found}",
            "--yes",
        )
    tables = tables_behind(client, table)
    err.print(styled((f"emptying {', '.join(tables)}", "dim")))
    empty(client, tables)
    rewind(connection, group, topic, offsets)
    done = {
        "topic": topic,
        "group": group,
        "offsets": offsets,
        "tables": tables,
        "lost": [asdict(each) for each in lost],
    }
    answer(as_json, done, lambda: _rendered(done, offsets))


def _check_rights(settings: Settings, topic: str, group: str) -> None:
    """Raises `Failure` when the offsets could not be written, which shows only when the tables are empty."""
    if not settings.connection.secured:
        return
    wanted = [
        each
        for each in wanted_rights(settings, ["operator"])
        if each.operation == "Read" and (each.name == topic or each.row.kind == "group")
    ]
    if missing := missing_rights(settings.connection, wanted, groups=[group]):
        raise Failure(told(settings.connection.user, missing[0]), RIGHTS, code=REFUSED)


def _sentence(loss: Loss) -> str:
    return f"{loss.rows:,} rows of {loss.table} (since {loss.since:%Y-%m-%d %H:%M})"


def _rendered(found: dict[str, Any], offsets: dict[int, int]) -> Table:
    table = Table("partition", "next offset", box=None, pad_edge=False, title=f"{found['group']} on {found['topic']}")
    for number, offset in sorted(offsets.items()):
        table.add_row(str(number), f"{offset:,}")
    return table
