"""The postmortem of an incident as a page."""

from collections.abc import Iterator

from millstream.analytics.rca.questions.postmortem import Postmortem
from millstream.pages.answers.errors import families_grid
from millstream.pages.answers.explanation import explanation_blocks, explanation_verdict
from millstream.pages.answers.timeseries import timeseries_chart
from millstream.pages.format import MOST_ROWS, amount, duration, percent, window_text
from millstream.pages.page import Block, Grid, Lines, Page


def postmortem_page(found: Postmortem) -> Page:
    incident, impact = found.incident, found.impact
    usual, observed = (amount(incident.metric, value) for value in (incident.expected, incident.observed))
    name = incident.metric.replace("_", " ")
    verdicts = [f"{name} of {incident.scope}: usually {usual}, {observed} in the incident"]
    if found.explanation:
        verdicts.append(explanation_verdict(found.explanation))
    marks = [(each.change.occurred_at, f"{each.change.kind} {each.change.version}") for each in found.effects]
    tenants = [
        (each.tenant, f"{each.attempts:,}", f"{each.failed:,}", percent(each.failure_rate_before),
         percent(each.failure_rate), duration(each.wait_p95_before_ms), duration(each.wait_p95_ms))
        for each in impact.tenants[:MOST_ROWS]
    ]  # fmt: skip
    blocks: list[Block] = [
        Lines("Impact", list(_impact(found))),
        Grid(
            "Tenants",
            ("tenant", "attempts", "failed", "rate before", "rate", "wait p95 before", "wait p95"),
            tenants,
        ),
        timeseries_chart(found.timeseries, marks),
        Grid(
            "Timeline (UTC)",
            ("at", "what"),
            [(f"{each.at:%m-%d %H:%M:%S}", each.what) for each in found.timeline],
            left=(0, 1),
        ),
    ]
    if found.explanation:
        blocks += explanation_blocks(found.explanation)
    else:
        rows = [(each.tenant, f"{each.before:,}", f"{each.now:,}") for each in found.arrivals[:MOST_ROWS]]
        blocks.append(Grid("Who submitted", ("tenant", "before", "now"), rows))
    if found.errors.families:
        blocks.append(families_grid(found.errors.families[:MOST_ROWS], len(found.errors.families)))
    blocks.append(Lines("Not explained", found.not_explained or ["nothing known"]))
    return Page(
        f"Postmortem of {incident.incident_id}", window_text(found.span.start, found.span.end), verdicts, blocks, "bad"
    )


def _impact(found: Postmortem) -> Iterator[str]:
    impact = found.impact
    hit = [each for each in impact.tenants if each.affected]
    lasted = (found.span.end - found.span.start).total_seconds() / 60
    yield f"{lasted:,.0f} minutes" + ("" if found.incident.ended_at else " so far; ongoing")
    yield (
        f"{impact.jobs:,} jobs ({impact.attempts:,} attempts) ended in it; {impact.failed:,} attempts failed, "
        f"{max(0.0, impact.failures_beyond_usual):,.0f} more than usual"
    )
    yield f"{len(hit)} of {len(impact.tenants)} tenants failed more often than before, beyond chance" + (
        ": " + ", ".join(each.tenant for each in hit[:MOST_ROWS]) if hit else ""
    )
    yield (
        f"{impact.wasted_cost:.4f} of {impact.cost:.4f} {impact.currency} went into attempts that did not succeed "
        f"({impact.wasted_before:.4f} in the same time before)"
    )
    yield (
        f"against an objective of {100 * impact.slo:g}% the error budget burned {impact.burn_rate:,.1f} times as fast "
        f"as allowed; {impact.budget_used:.1%} of a 30-day budget is gone"
    )
