"""`millstream report`"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from millstream import settings as settings_module
from millstream.cli.options import AsJson
from millstream.cli.output import Failure, answer, out
from millstream.clickhouse import connect
from millstream.report import gather, render

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def report(
    last: Annotated[str, typer.Option(help="Length of the window up to now: 30s, 15m, 6h, 2d.")] = "1h",
    start: Annotated[datetime | None, typer.Option("--from", help="Start of the window, UTC.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="End of the window, UTC; now when absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Throughput, latency, failures and cost of a window of time, and the life of one telling job.

    Examples:

      millstream report --last 15m

      millstream report --from 2026-11-24T10:00:00 --to 2026-11-24T11:00:00 --json
    """
    until = end.replace(tzinfo=UTC) if end else datetime.now(UTC)
    since = start.replace(tzinfo=UTC) if start else until - _length(last)
    if since >= until:
        raise Failure(f"the window starts at {since:%H:%M:%S} and ends at {until:%H:%M:%S}", "swap them", code=2)
    found = gather(connect(settings_module.load()), since, until)
    answer(as_json, asdict(found), lambda: render(found, out.width))


def _length(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.replace(".", "", 1).isdigit():
        raise Failure(f"--last {text!r} is not a length of time", "write it as 30s, 15m, 6h or 2d", code=2)
    return timedelta(seconds=float(number) * UNITS[unit])
