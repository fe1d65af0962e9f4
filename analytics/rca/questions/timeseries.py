"""A metric around an incident, step by step: what a chart shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.metrics import metric_named
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import read_view, window

STEPS = 120
"""About as many points as a chart can show."""


@dataclass(frozen=True)
class Timeseries:
    """One value a step, in `unit`; None where no attempt ended. `incident` is the part that it is about."""

    metric: str
    unit: str
    span: Window
    step: timedelta
    moments: list[datetime]
    values: list[float | None]
    incident: Window


def timeseries(client: Client, metric: str, incident: Window, *, around: float = 1.0) -> Timeseries:
    """`metric` over the incident and `around` times its length before it and half as much after it.

    Raises `UnknownMetric`.
    """
    chart = metric_named(metric).chart
    length = incident.end - incident.start
    span = Window(incident.start - around * length, incident.end + around / 2 * length)
    step = timedelta(seconds=max(1, round((span.end - span.start).total_seconds() / STEPS)))
    seconds = round(step.total_seconds())
    arguments = window(span.start, span.end) | {"step_seconds": ("UInt32", str(seconds))}
    measured = dict(read_view(client, ("step", chart.column), "rca_timeseries", arguments))
    first = datetime.fromtimestamp(span.start.timestamp() // seconds * seconds, span.start.tzinfo)
    moments = [first + number * step for number in range(-((first - span.end) // step))]
    values = [chart.scale * measured[at] if at in measured else chart.when_empty for at in moments]
    return Timeseries(metric, chart.unit, span, step, moments, values, incident)
