"""The course of a metric around an incident: what a chart shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

STEPS = 120
"""About as many points as a chart can show."""


@dataclass(frozen=True)
class CourseStep:
    """The outcomes of one step."""

    step: datetime
    attempts: int
    failed: int
    failure_rate: float
    retries: int
    wait_p95_ms: float
    run_p95_ms: float
    busy_ms: float


@dataclass(frozen=True)
class Course:
    """A metric over time, one value a step; None where nothing ended. `incident` is the part that it is about."""

    metric: str
    unit: str
    span: Window
    step: timedelta
    moments: list[datetime]
    values: list[float | None]
    incident: Window


UNITS = {
    "failure_rate": "% of attempts",
    "retries": "% of attempts",
    "queue_wait": "ms, p95",
    "run_time": "ms, p95",
    "cost": "busy slots",
    "throughput_drop": "attempts a step",
}


def course(client: Client, metric: str, incident: Window, *, around: float = 1.0) -> Course:
    """`metric` over the incident and `around` times its length before it and half as much after it.

    A metric without a course of its own is shown by the attempts that ended.
    """
    length = incident.end - incident.start
    span = Window(incident.start - around * length, incident.end + around / 2 * length)
    step = timedelta(seconds=max(1, round((span.end - span.start).total_seconds() / STEPS)))
    seconds = round(step.total_seconds())
    arguments = window(span.start, span.end) | {"step_seconds": ("UInt32", str(seconds))}
    found = {each.step: each for each in ask(client, CourseStep, "rca_course", arguments)}
    first = datetime.fromtimestamp(span.start.timestamp() // seconds * seconds, span.start.tzinfo)
    moments = [first + number * step for number in range(-((first - span.end) // step))]
    values = [_value(metric, found.get(moment), seconds) for moment in moments]
    return Course(metric, UNITS.get(metric, UNITS["throughput_drop"]), span, step, moments, values, incident)


def _value(metric: str, at: CourseStep | None, seconds: int) -> float | None:
    if metric not in UNITS or metric == "throughput_drop":
        return float(at.attempts) if at else 0.0
    if at is None:
        return None
    return {
        "failure_rate": 100 * at.failure_rate,
        "retries": 100 * at.retries / at.attempts,
        "queue_wait": at.wait_p95_ms,
        "run_time": at.run_p95_ms,
        "cost": at.busy_ms / 1000 / seconds,
    }[metric]
