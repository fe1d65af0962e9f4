"""Two windows, or two values of a dimension, side by side: the differences, and the values they come from."""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.questions.attempt_stats import NO_ATTEMPTS, AttemptStats, stats, stats_by
from millstream.analytics.rca.questions.rates import SURE, standard_errors
from millstream.analytics.rca.window import Window

DIMENSIONS = ("tenant", "job_type", "lane", "worker_version", "host", "region", "instance_type")
SLOWER = 1.5
FEWEST = 30
NOTICED_MS = 20.0


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the attempts of `span`, only those with `value` of `dimension` when one is given."""

    span: Window
    dimension: str = ""
    value: str = ""

    def __str__(self) -> str:
        of = f"{self.dimension}={self.value} " if self.dimension else ""
        return f"{of}{self.span.start:%Y-%m-%d %H:%M:%S} to {self.span.end:%H:%M:%S}"


@dataclass(frozen=True)
class Difference:
    """A value of a dimension whose attempts differ between A and B beyond chance."""

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
    of_a: AttemptStats
    of_b: AttemptStats
    differences: list[Difference]


def compare(client: Client, a: Side, b: Side) -> Comparison:
    """Compare two sides."""
    differences: list[Difference] = []
    if not a.dimension and not b.dimension:
        for dimension in DIMENSIONS:
            differences += _differences(client, dimension, a.span, b.span)
    differences.sort(key=lambda each: -abs(each.standard_errors))
    return Comparison(a, b, _metrics(client, a), _metrics(client, b), differences)


def _metrics(client: Client, side: Side) -> AttemptStats:
    if not side.dimension:
        return stats(client, side.span)
    rows = stats_by(client, side.span, side.dimension)
    return next((each for each in rows if each.value == side.value), NO_ATTEMPTS)


def _differences(client: Client, dimension: str, a: Window, b: Window) -> list[Difference]:
    before = {each.value: each for each in stats_by(client, a, dimension)}
    found = []
    for now in stats_by(client, b, dimension):
        was = before.get(now.value, NO_ATTEMPTS)
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
