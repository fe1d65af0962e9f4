"""Why did a metric change between a baseline and an incident window? Attribution over the attempts in ClickHouse."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.attribution.attempts import Attempts, attempts_of
from millstream.analytics.rca.attribution.attribution import Attribution, Finding, Options, attribute
from millstream.analytics.rca.attribution.baseline_windows import baseline_of
from millstream.analytics.rca.metrics import metric_named
from millstream.analytics.rca.window import BaselineKind, Window
from millstream.analytics.sql import equal, moment, rows, statement


@dataclass(frozen=True)
class NearbyChange:
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
    """Up to five; for a drop of throughput, of the baseline: the kind that stays away."""
    changes: list[NearbyChange]
    """Those that touch the finding's own dimensions first, then the nearest."""
    sql: str
    """One SELECT without parameters whose single row has the finding's bad_before, of_before, bad_now, of_now."""
    next_command: str


@dataclass(frozen=True)
class Explanation:
    """Why a metric changed."""

    metric: str
    measured: str
    """What `bad` counts, in words."""
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
    metric: str,
    incident: Window,
    *,
    baseline: BaselineKind | tuple[Window, ...] = "auto",
    where: Mapping[str, str] | None = None,
    options: Options | None = None,
) -> Explanation:
    """Find the causes of a change of `metric` in `incident`.

    `baseline`: windows to compare with, or the rule that makes them ('previous': the window of the same length just
    before; 'same_hours': the same hours of up to seven earlier days; 'auto': same hours where there are rows on at
    least three days, else previous). `where`: only attempts with these dimension values. Raises `UnknownMetric`.
    """
    began = time.perf_counter()
    windows = baseline_of(client, incident, baseline) if isinstance(baseline, str) else baseline
    attempts = attempts_of(client, metric_named(metric), incident, windows, where or {})
    dimensions, left_out = attempts.dimensions()
    chosen = replace(options or Options(), direction=attempts.metric.direction)
    found = attribute(attempts.leaves(dimensions), chosen)
    changes = _changes(client, incident) if found.findings else []
    evidence = [_evidence(attempts, finding, changes) for finding in found.findings]
    return Explanation(
        metric=metric,
        measured=attempts.sql.measured,
        incident=incident,
        baseline=windows,
        attribution=found,
        evidence=evidence,
        dimensions=dimensions,
        left_out=left_out,
        seconds=time.perf_counter() - began,
    )


def _evidence(attempts: Attempts, finding: Finding, changes: Sequence[NearbyChange]) -> Evidence:
    parts = attempts.parts()
    inside = equal(finding.dimensions.items())
    drop = attempts.metric.direction == "drop"
    shown = " OR ".join(window.sql() for window in attempts.baseline) if drop else attempts.incident.sql()
    text = statement("rca/sql/examples", window=shown, counted=parts["counted"], inside=inside, bad=parts["bad"])
    first_seen, jobs = rows(attempts.client, text)[0]
    named = {*finding.dimensions.items(), *(pair for alias in finding.aliases for pair in alias.items())}
    return Evidence(
        finding=finding,
        first_seen=None if drop else first_seen,
        example_jobs=list(jobs),
        changes=sorted(changes, key=lambda change: (not _touches(change, named), abs(change.offset_s)))[:5],
        sql=statement("rca/sql/finding", **parts, inside=inside),
        next_command=shlex.join(["millstream", "rca", "job", jobs[0]]) if jobs else _narrower(attempts, finding),
    )


def _narrower(attempts: Attempts, finding: Finding) -> str:
    metric, incident = attempts.metric.name, attempts.incident
    start, end = (at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") for at in (incident.start, incident.end))
    inside = " ".join("--where " + shlex.quote(f"{name}={value}") for name, value in finding.dimensions.items())
    return f"millstream rca explain --metric {metric} --since {start} --until {end} {inside}"


def _touches(change: NearbyChange, named: set[tuple[str, str]]) -> bool:
    values = {value for _, value in named}
    return bool(change.version and change.version in values) or bool(set(change.touches.items()) & named)


def _changes(client: Client, incident: Window) -> list[NearbyChange]:
    text = statement("rca/sql/changes_nearby", start=moment(incident.start), end=moment(incident.end))
    return [
        NearbyChange(at, (at - incident.start).total_seconds(), kind, service, version, summary, dict(labels))
        for at, kind, service, version, summary, labels in rows(client, text)
    ]
