"""`millstream tables`: do ClickHouse's tables agree with the raw rows, and rebuild what does not."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client
from rich.console import RenderableType

from millstream import settings as settings_module
from millstream.analytics import pending
from millstream.analytics.warehouse.pause import InsertPause, inserts_paused
from millstream.analytics.warehouse.reconciliation.differing import (
    DifferingPeriod,
    complete_since,
    differing_periods,
    ranges,
    raw_table,
)
from millstream.analytics.warehouse.reconciliation.repair import TIMES, Repair, repair
from millstream.cli.failure import Failure
from millstream.cli.kafka_access import accepted_connection
from millstream.cli.options import AsJson
from millstream.cli.output import answer, columns, err
from millstream.clickhouse import connect
from millstream.consumers.sink.announced import announced_ranges
from millstream.consumers.sink.sources import BY_TABLE
from millstream.settings import Settings
from millstream.terminal import styled

app = typer.Typer(
    help="Compare the tables that ClickHouse fills with the raw rows; rebuild what disagrees.", no_args_is_help=True
)

PAUSING = "tables repair"

From = Annotated[
    datetime | None, typer.Option("--from", help="Start of the window, UTC; the oldest raw rows when absent.")
]
To = Annotated[datetime | None, typer.Option("--to", help="End of the window, UTC; now when absent.")]


@app.command("check")
def check(start: From = None, end: To = None, as_json: AsJson = False) -> None:
    """Compare each table with the raw rows that it is made from, minute by minute or hour by hour.

    Exit code 1 when something disagrees. What is being inserted at the moment does not count: a table must disagree
    three times, a second apart.

    Example: millstream tables check --from 2026-11-24T00:00:00
    """
    settings = settings_module.load()
    since, until = _window(settings, start, end)
    found = differing_periods(_client(settings), since, until)
    answer(as_json, _data(found), lambda: _rendered(found) if found else "every table agrees with the raw rows")
    if found:
        raise typer.Exit(1)


@app.command("repair")
def repair_command(start: From = None, end: To = None, as_json: AsJson = False) -> None:
    """Rebuild the minutes and hours that disagree, from the raw rows. Sinks may run: they wait meanwhile.

    What a sink may still insert is left alone, and so is what has no raw rows any more: `millstream sink rewind` reads
    those again from Kafka. Exit code 1 when something is left. Safe to repeat; after an interruption, repeat it.

    Example: millstream tables repair --from 2026-11-24T00:00:00
    """
    settings = settings_module.load()
    since, until = _window(settings, start, end)
    if settings.clickhouse.cluster:
        raise Failure("cannot repair tables on a cluster", "rebuild into a new database instead", 2)
    client = _client(settings)
    if differing_periods(client, since, until):
        err.print(styled(("sinks wait until the tables are repaired", "dim")))
        with inserts_paused(client, PAUSING):
            done = repair(client, since, until, {table: _announced(settings, table) for table in TIMES})
    else:
        # One that was interrupted may have left it behind.
        InsertPause(client, PAUSING).end()
        done = Repair([], [], [])
    data = {
        "rebuilt": _data(done.rebuilt),
        "announced": _data(done.announced),
        "without_raw_rows": _data(done.without_raw_rows),
    }
    answer(as_json, data, lambda: _rendered(done.rebuilt) if done.rebuilt else "nothing was rebuilt")
    if done.announced:
        err.print(
            styled(
                ("left", "yellow"),
                " a sink has announced rows of these, and inserts them when it runs; then repeat this:",
            )
        )
        err.print(_rendered(done.announced))
    if done.without_raw_rows:
        raw = sorted({raw_table(each.table) for each in done.without_raw_rows})
        commands = ", ".join(f"millstream sink rewind --table {table}" for table in raw)
        err.print(
            styled(("left", "yellow"), f" there are no raw rows of these; read them again from Kafka ({commands}):")
        )
        err.print(_rendered(done.without_raw_rows))
    if done.announced or done.without_raw_rows:
        raise typer.Exit(1)


def _client(settings: Settings) -> Client:
    client = connect(settings)
    if left := pending(client):
        raise Failure(f"migrations not applied: {', '.join(left)}", "millstream migrate")
    return client


def _window(settings: Settings, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    oldest = complete_since(settings.clickhouse.raw_days, now)
    since = max(start.replace(tzinfo=UTC), oldest) if start else oldest
    until = end.replace(tzinfo=UTC) if end else now
    if since >= until:
        raise Failure(
            f"the window starts at {since:%Y-%m-%d %H:%M} and ends at {until:%Y-%m-%d %H:%M}",
            "raw rows are complete from its start on; choose a later --to",
            code=2,
        )
    return since, until


def _announced(settings: Settings, table: str) -> dict[int, range]:
    source = BY_TABLE[table]
    return announced_ranges(
        accepted_connection(settings), source.group(settings.sink.group), source.topic(settings.catalogue)
    )


def _data(found: Sequence[DifferingPeriod]) -> list[dict[str, object]]:
    return [asdict(each) for each in ranges(found)]


def _rendered(found: Sequence[DifferingPeriod]) -> RenderableType:
    return columns(
        ("table", "from", "to", "periods", "rows in table", "rows from raw"),
        [
            (
                each.table,
                f"{each.start:%Y-%m-%d %H:%M}",
                f"{each.end:%Y-%m-%d %H:%M}",
                each.periods,
                each.rows_in_table,
                each.rows_from_raw,
            )
            for each in ranges(found)
        ],
    )
