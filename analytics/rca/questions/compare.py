"""Two windows, or two values of a dimension, side by side: what differs, and by which values it comes."""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.performance import NOTHING, Metrics, metrics, metrics_by
from millstream.analytics.rca.questions.rates import SURE, standard_errors
from millstream.analytics.rca.window import Window

DIMENSIONS = ("tenant", "job_type", "lane", "worker_version", "host", "region", "instance_type")
SLOWER = 1.5
FEWEST = 30
NOTICED_MS = 20.0


@dataclass(frozen=True)
class Side:
    """What is compared: attempts of `span`, only those with `value` of `dimension` when one is given."""

    span: Window
    dimension: str = ""
    value: str = ""

    def __str__(self) -> str:
        of = f"{self.dimension}={self.value} " if self.dimension else ""
        return f"{of}{self.span.start:%Y-%m-%d %H:%M:%S} to {self.span.end:%H:%M:%S}"


@dataclass(frozen=True)
class Difference:
    """A value of a dimension whose attempts did differently in B than in A, beyond chance."""

    dimension: str
    value: str
    what: str
    in_a: float
    in_b: float
    standard_errors: float


@dataclass(frozen=True)
class Comparison:
    """A and B as a whole, and the differences by dimension, largest first (only between windows)."""

    a: Side
    b: Side
    of_a: Metrics
    of_b: Metrics
    differences: list[Difference]


def compare(client: Client, a: Side, b: Side) -> Comparison:
    """Compare two sides."""
    differences: list[Difference] = []
    if not a.dimension and not b.dimension:
        for dimension in DIMENSIONS:
            differences += _differences(client, dimension, a.span, b.span)
    differences.sort(key=lambda each: -abs(each.standard_errors))
    return Comparison(a, b, _metrics(client, a), _metrics(client, b), differences)


def _metrics(client: Client, side: Side) -> Metrics:
    if not side.dimension:
        return metrics(client, side.span)
    rows = metrics_by(client, side.span, side.dimension)
    return next((each for each in rows if each.value == side.value), NOTHING)


def _differences(client: Client, dimension: str, a: Window, b: Window) -> list[Difference]:
    before = {each.value: each for each in metrics_by(client, a, dimension)}
    found = []
    for now in metrics_by(client, b, dimension):
        was = before.get(now.value, NOTHING)
        errors = standard_errors(was.failures, now.failures)
        if abs(errors) >= SURE:
            found.append(Difference(dimension, now.value, "failure rate", was.failure_rate, now.failure_rate, errors))
        for what, earlier, later in (
            ("queue wait p95 ms", was.wait_p95_ms, now.wait_p95_ms),
            ("run time p95 ms", was.run_p95_ms, now.run_p95_ms),
        ):
            ratio = (later + NOTICED_MS) / (earlier + NOTICED_MS)
            if min(was.attempts, now.attempts) >= FEWEST and max(ratio, 1 / ratio) >= SLOWER:
                found.append(Difference(dimension, now.value, what, earlier, later, 0.0))
    return found
