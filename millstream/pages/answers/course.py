"""The chart that several answers share: a metric around an incident."""

from collections.abc import Sequence
from datetime import datetime

from millstream.analytics.rca.questions.timeseries import Course
from millstream.pages.page import Chart


def course_chart(shown: Course, marks: Sequence[tuple[datetime, str]] = ()) -> Chart:
    """The metric around the incident, which is marked only if the chart also shows a time before it."""
    seen = [(at, name) for at, name in marks if shown.span.start <= at <= shown.span.end]
    title = f"{shown.metric.replace('_', ' ').capitalize()} over time"
    incident = (shown.incident.start, shown.incident.end) if shown.incident.start > shown.span.start else None
    return Chart(title, shown.unit, shown.moments, shown.values, incident, seen)
