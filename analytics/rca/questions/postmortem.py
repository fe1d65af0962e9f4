"""Everything that a postmortem of one incident says: impact, timeline, causes with evidence, what is not explained."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

from clickhouse_connect.driver.client import Client

from millstream.analytics import queries
from millstream.analytics.rca.attribution.explain import Explanation, explain
from millstream.analytics.rca.detection.incidents import Incident, incident, incidents
from millstream.analytics.rca.metrics import Metric
from millstream.analytics.rca.questions.deploys import AROUND, Effect, deploy_effects
from millstream.analytics.rca.questions.errors import ErrorFamilies, error_families
from millstream.analytics.rca.questions.performance import NOTHING, Metrics, metrics, metrics_by
from millstream.analytics.rca.questions.rates import SURE, standard_errors
from millstream.analytics.rca.questions.timeseries import Course, course
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

SLO = 0.999
SLO_DAYS = 30
EXPLAINED = 0.8
"""When the causes hold less of the excess than this, the rest is worth a sentence."""


@dataclass(frozen=True)
class TenantImpact:
    """What one tenant saw in the incident, and in the window of the same length before it.

    `hurt`: it failed more often than before, beyond chance.
    """

    tenant: str
    attempts: int
    failed: int
    failure_rate: float
    failure_rate_before: float
    wait_p95_ms: float
    wait_p95_before_ms: float
    hurt: bool


@dataclass(frozen=True)
class Impact:
    """What the incident cost.

    `failures_beyond_usual` is against the failure rate of the window of the same length before it. `burn_rate` is how
    many times faster than allowed the error budget was used up, `budget_used` the part of the budget of 30 days that
    the failures took (0 to 1 and above), for an objective of `slo` successful attempts. Money is in `currency`.
    """

    attempts: int
    jobs: int
    failed: int
    failures_beyond_usual: float
    tenants: list[TenantImpact]
    cost: float
    wasted_cost: float
    wasted_before: float
    currency: str
    slo: float
    burn_rate: float
    budget_used: float


@dataclass(frozen=True)
class Moment:
    """One line of the timeline."""

    at: datetime
    what: str


@dataclass(frozen=True)
class Arrivals:
    """Submissions of one tenant in the incident and in the window of the same length before it."""

    tenant: str
    before: int
    now: int


@dataclass(frozen=True)
class Postmortem:
    """An incident, complete. `explanation` is None when the metric is not one that attempts can be attributed by."""

    incident: Incident
    span: Window
    impact: Impact
    timeline: list[Moment]
    explanation: Explanation | None
    arrivals: list[Arrivals]
    errors: ErrorFamilies
    effects: list[Effect]
    not_explained: list[str]
    course: Course


@dataclass(frozen=True)
class _Submitted:
    dimension: str
    value: str
    submitted: int


def postmortem(client: Client, incident_id: str, *, now: datetime | None = None, slo: float = SLO) -> Postmortem:
    """Gather everything about a recorded incident. Raises `UnknownIncident`.

    An incident that lasts is looked at up to `now`. `slo`: the share of attempts that should succeed, such as 0.999.
    """
    told = incident(client, incident_id)
    span = Window(told.started_at, told.ended_at or now or datetime.now(UTC))
    before = Window(span.start - (span.end - span.start), span.start)
    metric = "throughput_drop" if told.metric == "starts" else told.metric
    explanation = explain(client, cast(Metric, metric), span) if metric in get_args(Metric) else None
    errors = error_families(client, span)
    effects = deploy_effects(client, Window(span.start - 2 * AROUND, span.end))
    overlapping = [each for each in incidents(client, span.start, span.end) if each != told]
    return Postmortem(
        told,
        span,
        _impact(client, span, before, slo),
        sorted(_timeline(told, overlapping, explanation, errors, effects), key=lambda each: each.at),
        explanation,
        _arrivals(client, span, before),
        errors,
        effects,
        list(_not_explained(explanation)),
        course(client, metric, span),
    )


def _impact(client: Client, span: Window, before: Window, slo: float) -> Impact:
    now, earlier = metrics(client, span), metrics(client, before)
    was = {each.value: each for each in metrics_by(client, before, "tenant")}
    tenants = [_tenant(was.get(each.value, NOTHING), each) for each in metrics_by(client, span, "tenant")]
    tenants.sort(key=lambda each: each.attempts * (each.failure_rate_before - each.failure_rate))
    costs, costs_before = (queries.cost_by_tenant(client, each.start, each.end) for each in (span, before))
    allowed = 1 - slo
    month = metrics(client, Window(span.end - timedelta(days=SLO_DAYS), span.end)).attempts
    return Impact(
        now.attempts,
        now.jobs,
        now.failed,
        now.failed - earlier.failure_rate * now.attempts,
        tenants,
        sum(each.cost for each in costs),
        sum(each.wasted_cost for each in costs),
        sum(each.wasted_cost for each in costs_before),
        costs[0].currency if costs else "",
        slo,
        now.failure_rate / allowed,
        now.failed / (allowed * month) if month else 0.0,
    )


def _tenant(before: Metrics, now: Metrics) -> TenantImpact:
    return TenantImpact(
        now.value,
        now.attempts,
        now.failed,
        now.failure_rate,
        before.failure_rate,
        now.wait_p95_ms,
        before.wait_p95_ms,
        standard_errors(before.failures, now.failures) >= SURE,
    )


def _arrivals(client: Client, span: Window, before: Window) -> list[Arrivals]:
    def submitted(of: Window) -> dict[str, int]:
        rows = ask(client, _Submitted, "rca_counts", window(of.start, of.end) | {"step_seconds": ("UInt32", "60")})
        counts: dict[str, int] = {}
        for row in rows:
            if row.dimension == "tenant":
                counts[row.value] = counts.get(row.value, 0) + row.submitted
        return counts

    now, was = submitted(span), submitted(before)
    found = [Arrivals(tenant, was.get(tenant, 0), count) for tenant, count in now.items()]
    return sorted(found, key=lambda each: each.before - each.now)


def _timeline(
    told: Incident,
    overlapping: list[Incident],
    explanation: Explanation | None,
    errors: ErrorFamilies,
    effects: list[Effect],
) -> Iterator[Moment]:
    for effect in effects:
        yield Moment(
            effect.change.occurred_at,
            f"{effect.change.kind} of {effect.change.service} {effect.change.version}".rstrip()
            + f": {effect.change.summary} "
            f"({effect.verdict}: {effect.why})",
        )
    yield Moment(told.started_at, f"{told.metric} leaves its usual course ({told.scope})")
    for each in overlapping:
        yield Moment(each.started_at, f"{each.metric} too ({each.scope}, incident {each.incident_id})")
        if each.ended_at:
            yield Moment(each.ended_at, f"{each.metric} is as usual again ({each.scope})")
    for family in errors.families:
        if family.state in ("new", "returning"):
            seen = family.first_seen if family.state == "new" else errors.span.start
            yield Moment(seen, f"{family.state} error {family.error_type}: {family.template} ({family.count} times)")
    for evidence in explanation.evidence if explanation else []:
        if evidence.first_seen:
            where = ", ".join(f"{name}={value}" for name, value in evidence.finding.dimensions.items())
            yield Moment(evidence.first_seen, f"first one within {where}")
    if told.ended_at:
        yield Moment(told.ended_at, f"{told.metric} is as usual again")


def _not_explained(explanation: Explanation | None) -> Iterator[str]:
    if explanation is None:
        yield "Which jobs arrive is not ours to explain: the tenants that sent them know why."
        return
    found = explanation.attribution
    if found.verdict == "global":
        yield "No dimension stands out: the change is everywhere alike. Look at what all jobs share."
    elif found.verdict == "too little data":
        yield "There is too little data to name a cause."
    elif found.verdict == "nothing unusual":
        yield "Against its baseline the window is not unusual."
    elif found.explained < EXPLAINED:
        yield f"The causes hold {found.explained:.0%} of the excess; {1 - found.explained:.0%} of it has no cause yet."
    if explanation.left_out:
        yield "Not looked at: " + ", ".join(f"{name} ({why})" for name, why in explanation.left_out.items()) + "."
    for evidence in explanation.evidence:
        if not evidence.changes:
            where = ", ".join(f"{name}={value}" for name, value in evidence.finding.dimensions.items())
            yield f"No recorded change lies near the begin of {where}: why it began then is open."
