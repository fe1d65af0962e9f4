"""Which windows an incident is compared with, when a rule makes them."""

from datetime import timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.window import BaselineKind, Window
from millstream.analytics.sql import moment, rows, statement

LEAST_DAYS = 3
"""So many earlier days must have attempts in the same hours to be a baseline by themselves."""


def baseline_of(client: Client, incident: Window, kind: BaselineKind) -> tuple[Window, ...]:
    """The windows that a rule makes; windows without attempts are none."""
    if kind in ("auto", "same_hours"):
        text = statement("rca/sql/same_hours", start=moment(incident.start), end=moment(incident.end))
        days = [int(day) for day, _ in rows(client, text)]
        if kind == "same_hours" or len(days) >= LEAST_DAYS:
            return tuple(_shifted(incident, timedelta(days=day)) for day in days)
    previous = _shifted(incident, incident.end - incident.start)
    text = statement("rca/sql/size", now=incident.sql(), windows=previous.sql())
    return (previous,) if int(rows(client, text)[0][1]) else ()


def _shifted(window: Window, by: timedelta) -> Window:
    return Window(window.start - by, window.end - by)
