"""`millstream sink rewind`"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.analytics.warehouse.rebuild import Loss, empty, losses, tables_behind
from millstream.cli.options import AsJson
from millstream.cli.output import Failure, answer, err
from millstream.clickhouse import connect
from millstream.consumers.sink import (
    EVENTS,
    LOW_VOLUME,
    SinkConfig,
    SinkRunning,
    Source,
    check_stopped,
    offsets_at,
    read_again,
    rewind,
)
from millstream.consumers.sink.all_sinks import low_volume

SOURCES = {source.table: source for source in (EVENTS, *LOW_VOLUME)}


def rewind_command(
    start: Annotated[
        datetime | None, typer.Option("--from", help="Keep what came to Kafka since then, UTC; all it has when absent.")
    ] = None,
    table: Annotated[str, typer.Option(help=f"Table to rebuild: {', '.join(SOURCES)}.")] = EVENTS.table,
    yes: Annotated[bool, typer.Option("--yes", help="Go on although rows would be lost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a table and all that is made of it from Kafka: empty them and have the sink read again.

    Stop every sink first and start them afterwards. Rows that Kafka no longer has, or that came before --from, are
    gone, and so is what tables that are kept for longer have made of such rows. Without --yes nothing is changed when
    anything would be lost.

    Examples:

      millstream sink rewind

      millstream sink rewind --from 2026-11-24T00:00:00 --yes
    """
    settings = settings_module.load()
    source = SOURCES.get(table)
    if source is None:
        raise Failure(f"no sink fills a table {table!r}", f"choose one of {', '.join(SOURCES)}", 2)
    if settings.clickhouse.cluster:
        raise Failure("tables on a cluster are not emptied from here", "rebuild into a new database instead", 2)
    topic, group = source.topic(settings.catalogue), _group(settings.sink, source)
    connection = settings.connection.quiet
    try:
        check_stopped(connection, group)
    except SinkRunning as error:
        raise Failure(str(error), "stop every sink; one that was killed leaves its group after six seconds") from error
    offsets = offsets_at(connection, topic, start.replace(tzinfo=UTC) if start else None)
    client = connect(settings)
    lost = losses(client, table, read_again(connection, topic, offsets))
    if lost and not yes:
        found = ", ".join(map(_sentence, lost))
        raise Failure(f"Kafka has it no more, or --from excludes it; lost would be {found}", "--yes")
    tables = tables_behind(client, table)
    err.print(f"[dim]emptying {', '.join(tables)}[/]")
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


def _group(config: SinkConfig, source: Source) -> str:
    return config.group if source is EVENTS else low_volume(config, source).group


def _sentence(loss: Loss) -> str:
    return f"{loss.rows:,} rows of {loss.table} (since {loss.since:%Y-%m-%d %H:%M})"


def _rendered(found: dict[str, Any], offsets: dict[int, int]) -> Table:
    table = Table("partition", "reads on from", box=None, pad_edge=False, title=f"{found['group']} on {found['topic']}")
    for number, offset in sorted(offsets.items()):
        table.add_row(str(number), f"{offset:,}")
    return table
