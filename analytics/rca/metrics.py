"""What each metric counts: which attempts, what of them is bad, and out of what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from millstream.analytics.rca.attribution.attribution import Direction
from millstream.analytics.rca.statements import quoted

Metric = Literal["failure_rate", "queue_wait", "run_time", "cost", "throughput_drop", "retries"]


@dataclass(frozen=True)
class Threshold:
    """A duration is bad above its kind's 95th percentile in the baseline; `by` is the column of kinds."""

    stage: str
    by: str
    column: str


@dataclass(frozen=True)
class Measure:
    """`bad` and `counted` are SQL over job_attempts: the amount of one attempt, and whether it counts at all.

    `is_rate` tells a share of attempts from an amount over time. `certain`: SQL that is true for the attempts that a
    sample must keep.
    """

    title: str
    bad: str
    counted: str = "1"
    certain: str = "0"
    is_rate: bool = True
    direction: Direction = "rise"


THRESHOLDS: Mapping[Metric, Threshold] = {
    "queue_wait": Threshold("queue_wait", "lane", "wait_ms"),
    "run_time": Threshold("run", "job_type", "run_ms"),
}

FAILED = "outcome IN ('failed', 'timed_out')"


def measure(metric: Metric, by_kind: Mapping[str, float]) -> Measure:
    """The SQL of a metric.

    `by_kind`: for durations the threshold of each kind in ms, for cost the price of a millisecond on each machine
    ('type@region'), else empty.
    """
    if metric == "failure_rate":
        return Measure("failed attempts", FAILED, certain=FAILED)
    if metric == "retries":
        return Measure("attempts that are retries", "attempt > 1", certain="attempt > 1")
    if metric == "throughput_drop":
        return Measure("attempts", "1", is_rate=False, direction="drop")
    if metric == "cost":
        price = _lookup("concat(toString(instance_type), '@', toString(region))", by_kind)
        return Measure("cost", f"ifNull(run_ms, 0) * {price}", is_rate=False)
    threshold = THRESHOLDS[metric]
    slow = f"{threshold.column} > {_lookup(f'toString({threshold.by})', by_kind)}"
    title = "attempts that waited" if metric == "queue_wait" else "attempts that ran"
    return Measure(f"{title} longer than the baseline's p95", slow, f"{threshold.column} IS NOT NULL", certain=slow)


def _lookup(key: str, values: Mapping[str, float]) -> str:
    """SQL for the value of `key`; of a key that is not there, the middle of all values."""
    if not values:
        return "0.0"
    keys = ", ".join(quoted(name) for name in values)
    numbers = ", ".join(f"{value:.17g}" for value in values.values())
    default = sorted(values.values())[len(values) // 2]
    return f"transform({key}, [{keys}], [{numbers}]::Array(Float64), {default:.17g}::Float64)"
