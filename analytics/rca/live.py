"""The same question asked of ClickHouse: why did a metric change between a baseline and an incident window?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.attribution import Attribution, Finding, Options

Metric = Literal["failure_rate", "queue_wait", "run_time", "cost", "throughput_drop", "retries"]
BaselineKind = Literal["auto", "previous", "same_hours"]


@dataclass(frozen=True)
class Window:
    """Half open, [start, end), aware datetimes; by the time of the outcome."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Change:
    """A deploy, configuration or quota change near the incident's start. `offset_s`: seconds after it."""

    occurred_at: datetime
    offset_s: float
    kind: str
    service: str
    version: str
    summary: str
    touches: dict[str, str]


@dataclass(frozen=True)
class Evidence:
    """What goes with one finding: `Explanation.evidence[i]` belongs to `attribution.findings[i]`."""

    finding: Finding
    first_seen: datetime | None
    """When the first bad attempt of the incident window inside the finding ended."""
    example_jobs: list[str]
    changes: list[Change]
    sql: str
    """One SELECT without parameters whose single row has the finding's bad_before, of_before, bad_now, of_now."""
    next_command: str


@dataclass(frozen=True)
class Explanation:
    """Why a metric changed."""

    metric: Metric
    incident: Window
    baseline: tuple[Window, ...]
    attribution: Attribution
    evidence: list[Evidence]
    dimensions: list[str]
    left_out: dict[str, str] = field(default_factory=dict)
    """Dimension -> why it was not looked at (too many values, a single value)."""
    seconds: float = 0.0


def explain(
    client: Client,
    metric: Metric,
    incident: Window,
    *,
    baseline: BaselineKind | tuple[Window, ...] = "auto",
    where: Mapping[str, str] | None = None,
    options: Options | None = None,
) -> Explanation:
    """Find the causes of a change of `metric` in `incident`.

    `baseline`: windows to compare with, or the rule that makes them ('previous': the window of the same length just
    before; 'same_hours': the same hours of up to seven earlier days; 'auto': same hours where there are rows on at
    least three days, else previous). `where`: only attempts with these dimension values.
    """
    raise NotImplementedError(client, metric, incident, baseline, where, options)
