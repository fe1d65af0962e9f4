"""The metrics of root cause analysis. One metric is one entry of `METRICS`: what it counts among attempts, which series
detection watches, what a chart shows, and how its values are written. Everything else iterates over the entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from millstream.analytics.rca.detection.kinds import Kind, Nature

# Attribution computes with numpy, which takes a fifth of a second to load, and most questions need no attribution.
if TYPE_CHECKING:
    from millstream.analytics.rca.attribution.attribution import Direction


class UnknownMetric(ValueError):
    """No metric has this name; the text lists those that have one."""


class Unit(StrEnum):
    """What a value of a metric is, which says how it is written."""

    SHARE = "share"
    """From 0 to 1."""

    MILLISECONDS = "milliseconds"
    MONEY = "money"
    """In the currency of the price book, in each step."""

    EVENTS = "events"
    """A number of events in each step."""


@dataclass(frozen=True)
class PerKind:
    """A number that differs by the kind of an attempt: a threshold, a price.

    `kind`: SQL for the kind of an attempt. `file`: the SQL file that reads the number of each kind, with `parts` put
    in. `in_incident`: read it over the incident too, not over the baseline alone.
    """

    kind: str
    file: str
    parts: Mapping[str, str] = field(default_factory=dict)
    in_incident: bool = False


@dataclass(frozen=True)
class AttemptSql:
    """How attempts are counted, as SQL over `job_attempts`.

    `measured`: what `bad` counts, in words. `bad`: the amount of one attempt; `{per_kind}` stands for the number of its
    kind. `counted`: whether the attempt counts at all. `certain`: true for attempts that a sample must keep, so that
    rare bad ones are all seen. `is_rate`: True for a share of attempts, False for an amount per window.
    """

    measured: str
    bad: str
    counted: str = "1"
    certain: str = "0"
    is_rate: bool = True
    per_kind: PerKind | None = None


@dataclass(frozen=True)
class SeriesSource:
    """The series that detection reads, by dimension and step, and what of it is worth an incident.

    `view` is a parameterised view with the columns step, dimension, value, `values` and `trials`; `arguments` are its
    parameters besides from, to and step_seconds. The other fields are those of `detection.deviations`.
    """

    view: str
    nature: Nature
    values: str
    trials: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    least_ratio: float = 2.0
    floor: float = 0.0
    only: frozenset[Kind] = frozenset(Kind)


@dataclass(frozen=True)
class ChartColumn:
    """A column of the view `rca_timeseries`, multiplied by `scale`, and the unit on the axis.

    `when_empty`: the value of a step without attempts; None leaves a gap.
    """

    column: str
    unit: str
    scale: float = 1.0
    when_empty: float | None = None


@dataclass(frozen=True)
class Metric:
    """`direction`: which way is worse. `attempts`: None when they cannot explain the metric. `explained_by`: the metric
    whose attempts explain this one in that case, empty when none does."""

    name: str
    unit: Unit
    direction: "Direction"
    chart: ChartColumn
    source: SeriesSource
    attempts: AttemptSql | None = None
    explained_by: str = ""

    @property
    def cause_metric(self) -> str:
        """The metric to ask for the causes of this one; empty when attempts have none."""
        return self.name if self.attempts is not None else self.explained_by

    @property
    def title(self) -> str:
        """`Queue wait`."""
        return self.name.replace("_", " ").capitalize()


STALLS = frozenset({Kind.STALL})
ENDED = ChartColumn("attempts", "attempts a step", when_empty=0.0)
FAILED = "outcome IN ('failed', 'timed_out')"


def _slow(attempts: str, column: str, by: str, stage: str) -> AttemptSql:
    """Attempts whose duration in `column` is above the baseline's 95th percentile of their kind, the column `by`."""
    slow = f"{column} > {{per_kind}}"
    return AttemptSql(
        f"{attempts} longer than the baseline's p95",
        slow,
        f"{column} IS NOT NULL",
        slow,
        per_kind=PerKind(f"toString({by})", "thresholds", {"by": by, "stage": stage}),
    )


METRICS = (
    Metric(
        "failure_rate",
        Unit.SHARE,
        "rise",
        ChartColumn("failure_rate", "% of attempts", scale=100),
        SeriesSource("rca_counts", Nature.SHARE, "failed", "finished", least_ratio=1.5),
        AttemptSql("failed attempts", FAILED, certain=FAILED),
    ),
    Metric(
        "retries",
        Unit.SHARE,
        "rise",
        ChartColumn("retry_share", "% of attempts", scale=100),
        SeriesSource("rca_counts", Nature.SHARE, "retries", "finished"),
        AttemptSql("attempts that are retries", "attempt > 1", certain="attempt > 1"),
    ),
    Metric(
        "queue_wait",
        Unit.MILLISECONDS,
        "rise",
        ChartColumn("wait_p95_ms", "ms, p95"),
        SeriesSource("rca_durations", Nature.SIZE, "p95_ms", "attempts", {"stage": "queue_wait"}, floor=50),
        _slow("attempts that waited", "wait_ms", "lane", "queue_wait"),
    ),
    Metric(
        "run_time",
        Unit.MILLISECONDS,
        "rise",
        ChartColumn("run_p95_ms", "ms, p95"),
        SeriesSource("rca_durations", Nature.SIZE, "p95_ms", "attempts", {"stage": "run"}, least_ratio=1.5, floor=20),
        _slow("attempts that ran", "run_ms", "job_type", "run"),
    ),
    Metric(
        "cost",
        Unit.MONEY,
        "rise",
        ChartColumn("busy_slots", "busy slots"),
        SeriesSource("rca_costs", Nature.SIZE, "cost", "attempts", floor=1e-6),
        AttemptSql(
            "cost",
            "ifNull(run_ms, 0) * {per_kind}",
            is_rate=False,
            per_kind=PerKind("concat(toString(instance_type), '@', toString(region))", "prices", in_incident=True),
        ),
    ),
    Metric(
        "submissions",
        Unit.EVENTS,
        "rise",
        ENDED,
        SeriesSource("rca_counts", Nature.COUNT, "submitted", "submitted"),
    ),
    Metric(
        "starts",
        Unit.EVENTS,
        "drop",
        ENDED,
        SeriesSource("rca_counts", Nature.COUNT, "started", "started", only=STALLS),
        explained_by="throughput_drop",
    ),
    Metric(
        "throughput_drop",
        Unit.EVENTS,
        "drop",
        ENDED,
        SeriesSource("rca_counts", Nature.COUNT, "finished", "finished"),
        AttemptSql("attempts", "1", is_rate=False),
    ),
)

EXPLAINABLE = tuple(metric.name for metric in METRICS if metric.attempts is not None)
"""The names of the metrics that `explain` accepts."""


def metric_named(name: str) -> Metric:
    """The metric with this name. Raises `UnknownMetric`."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise UnknownMetric(f"unknown metric {name!r}; known are {', '.join(metric.name for metric in METRICS)}")
