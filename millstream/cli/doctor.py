"""`millstream doctor`"""

from dataclasses import asdict, replace

import typer
from rich.table import Table

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import answer
from millstream.clickhouse import connect
from millstream.doctor import run_checks
from millstream.redaction import Redaction
from millstream.terminal import cell
from millstream.visible import visible


def doctor(as_json: AsJson = False) -> None:
    """Check brokers, topics, running services, ClickHouse, tables and clocks, and print a fix for each problem.

    Of the running system: which workers are alive, of which release, and which started again; how far lanes, sinks and
    tracker are behind; what is paused; whose clock differs. What may not be read is named with the right to grant.

    Exit code 1 when a check failed, 0 when all passed or only warned.
    """
    # What brokers and servers answer is quoted.
    redact = Redaction()
    results = [replace(each, detail=redact(each.detail)) for each in run_checks(settings_module.load(), connect)]

    def table() -> Table:
        styles = {"ok": "green", "warning": "yellow", "failed": "red"}
        rows = Table("check", "", "found", box=None, pad_edge=False)
        for each in results:
            found = cell(each.detail)
            if each.fix:
                found.append("\n").append(visible(f"→ {each.fix}"), "bold")
            rows.add_row(cell(each.check), cell(each.status, styles[each.status]), found)
        return rows

    answer(as_json, [asdict(each) for each in results], table)
    if any(each.status == "failed" for each in results):
        raise typer.Exit(1)
