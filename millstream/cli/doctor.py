"""`millstream doctor`"""

from dataclasses import asdict

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer
from millstream.clickhouse import connect
from millstream.doctor import run_checks


def doctor(as_json: AsJson = False) -> None:
    """Check brokers, topics, ClickHouse, tables, clock and versions, and print a fix for each problem.

    Exit code 1 when a check failed, 0 when all passed or only warned.
    """
    results = list(run_checks(settings_module.load(), connect))

    def table() -> Table:
        marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]failed[/]"}
        rows = Table("check", "", "found", box=None, pad_edge=False)
        for each in results:
            rows.add_row(each.check, marks[each.status], each.detail + (f"\n[bold]→ {each.fix}[/]" if each.fix else ""))
        return rows

    answer(as_json, [asdict(each) for each in results], table)
    if any(each.status == "failed" for each in results):
        raise typer.Exit(1)
