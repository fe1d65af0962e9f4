"""The chart that several answers share: a metric around an incident."""

from collections.abc import Sequence
from datetime import datetime

from millstream.analytics.rca.metrics import metric_named
from millstream.analytics.rca.questions.timeseries import Timeseries
from millstream.pages.page import Chart


def timeseries_chart(shown: Timeseries, marks: Sequence[tuple[datetime, str]] = ()) -> Chart:
    """The metric around the incident, which is marked only if the chart also shows a time before it."""
    seen = [(at, name) for at, name in marks if shown.span.start <= at <= shown.span.end]
    title = f"{metric_named(shown.metric).title} over time"
    incident = (shown.incident.start, shown.incident.end) if shown.incident.start > shown.span.start else None
    return Chart(title, shown.unit, shown.moments, shown.values, incident, seen)
