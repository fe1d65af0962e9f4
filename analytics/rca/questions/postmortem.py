"""The postmortem of one incident: impact, timeline, causes with evidence, and what remains unexplained."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.attribution.explain import Explanation, explain
from millstream.analytics.rca.detection.incidents import Incident, incident, incidents
from millstream.analytics.rca.metrics import metric_named
from millstream.analytics.rca.questions.deploys import AROUND, Effect, deploy_effects
from millstream.analytics.rca.questions.errors import ErrorFamilies, error_families
from millstream.analytics.rca.questions.impact import SLO, Arrivals, Impact, arrivals_by_tenant, impact_of
from millstream.analytics.rca.questions.timeseries import Timeseries, timeseries
from millstream.analytics.rca.window import Window

EXPLAINED = 0.8
"""When the causes explain less of the excess than this, the postmortem says so."""


@dataclass(frozen=True)
class Moment:
    """One line of the timeline."""

    at: datetime
    what: str


@dataclass(frozen=True)
class Postmortem:
    """Everything about an incident. `explanation` is None for a metric that attempts cannot explain."""

    incident: Incident
    span: Window
    impact: Impact
    timeline: list[Moment]
    explanation: Explanation | None
    arrivals: list[Arrivals]
    errors: ErrorFamilies
    effects: list[Effect]
    not_explained: list[str]
    timeseries: Timeseries


def postmortem(client: Client, incident_id: str, *, now: datetime | None = None, slo: float = SLO) -> Postmortem:
    """Gather everything about a recorded incident. Raises `UnknownIncident`.

    An incident that is still open is analysed up to `now`. `slo`: the share of attempts that should succeed, such as
    0.999.
    """
    found = incident(client, incident_id)
    span = Window(found.started_at, found.ended_at or now or datetime.now(UTC))
    before = Window(span.start - (span.end - span.start), span.start)
    cause_metric = metric_named(found.metric).cause_metric
    explanation = explain(client, cause_metric, span) if cause_metric else None
    errors = error_families(client, span)
    effects = deploy_effects(client, Window(span.start - 2 * AROUND, span.end))
    overlapping = [each for each in incidents(client, span.start, span.end) if each != found]
    return Postmortem(
        found,
        span,
        impact_of(client, span, before, slo),
        sorted(_timeline(found, overlapping, explanation, errors, effects), key=lambda each: each.at),
        explanation,
        arrivals_by_tenant(client, span, before),
        errors,
        effects,
        list(_not_explained(explanation)),
        timeseries(client, found.metric, span),
    )


def _timeline(
    found: Incident,
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
    yield Moment(found.started_at, f"{found.metric} leaves its usual range ({found.scope})")
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
            yield Moment(evidence.first_seen, f"first bad attempt within {where}")
    if found.ended_at:
        yield Moment(found.ended_at, f"{found.metric} is as usual again")


def _not_explained(explanation: Explanation | None) -> Iterator[str]:
    if explanation is None:
        yield "Attempts cannot explain why more jobs were submitted: ask the tenants that submitted them."
        return
    found = explanation.attribution
    if found.verdict == "global":
        yield "No dimension stands out: all jobs changed alike. Look at what all jobs share."
    elif found.verdict == "too little data":
        yield "There is too little data to name a cause."
    elif found.verdict == "nothing unusual":
        yield "The window does not differ from its baseline."
    elif found.explained < EXPLAINED:
        rest = 1 - found.explained
        yield f"The causes hold {found.explained:.0%} of the excess; no cause was found for {rest:.0%} of it."
    if explanation.left_out:
        yield "Dimensions left out: " + ", ".join(f"{name} ({why})" for name, why in explanation.left_out.items()) + "."
    for evidence in explanation.evidence:
        if not evidence.changes:
            where = ", ".join(f"{name}={value}" for name, value in evidence.finding.dimensions.items())
            yield f"No change was recorded near the start of {where}: it is not known why it began then."
