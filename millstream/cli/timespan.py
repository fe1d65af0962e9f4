"""The window of time that a command queries."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from millstream.cli.failure import Failure

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Last = Annotated[str, typer.Option(help="Length of the window up to now: 30s, 15m, 6h, 2d.")]
From = Annotated[datetime | None, typer.Option("--from", help="Start of the window, UTC.")]
To = Annotated[datetime | None, typer.Option("--to", help="End of the window, UTC; now when absent.")]


def timespan(last: str, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    """The window given by the options: [start, end), by default `last` up to now."""
    until = end.replace(tzinfo=UTC) if end else datetime.now(UTC)
    since = start.replace(tzinfo=UTC) if start else until - length(last)
    if since >= until:
        raise Failure(
            f"the window starts at {since:%H:%M:%S} and ends at {until:%H:%M:%S}", "exchange --from and --to", code=2
        )
    return since, until


def length(text: str, option: str = "--last") -> timedelta:
    """`15m` as a length of time."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.replace(".", "", 1).isdigit():
        raise Failure(f"{option} {text!r} is not a length of time", "write it as 30s, 15m, 6h or 2d", code=2)
    return timedelta(seconds=float(number) * UNITS[unit])
