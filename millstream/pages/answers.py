"""Each answer of root cause analysis as a page."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from millstream.analytics.rca.attribution.attempts import Window
from millstream.analytics.rca.attribution.attribution import Attribution, Counts, Finding
from millstream.analytics.rca.attribution.explain import Evidence, Explanation
from millstream.analytics.rca.detection.incidents import Incident
from millstream.analytics.rca.questions.bottleneck import Bottleneck, Load
from millstream.analytics.rca.questions.compare import Comparison
from millstream.analytics.rca.questions.deploys import Effect
from millstream.analytics.rca.questions.errors import ErrorFamilies, Family
from millstream.analytics.rca.questions.job import JobStory
from millstream.analytics.rca.questions.noisy_neighbours import TenantPressure
from millstream.analytics.rca.questions.performance import Metrics
from millstream.analytics.rca.questions.postmortem import Postmortem
from millstream.analytics.rca.questions.timeseries import Course
from millstream.pages.page import Block, Chart, Grid, Lines, Page, Snippet

MOST_ROWS = 15
MOST_NAMES = 3
VERDICTS = {
    "global": "no dimension stands out: it is global",
    "too little data": "too little data to name a cause",
    "nothing unusual": "nothing unusual against the baseline",
}
SHARES = ("failure_rate", "retries")


def incidents_page(found: Sequence[Incident], span: Window, worst: Course | None = None) -> Page:
    """`worst`: the course of the incident with the most evidence."""
    rows = [
        (
            each.incident_id,
            each.kind,
            each.scope,
            f"{each.started_at:%m-%d %H:%M}",
            f"{each.ended_at:%m-%d %H:%M}" if each.ended_at else "lasts",
            f"{amount(each.metric, each.expected)} → {amount(each.metric, each.observed)}",
            ", ".join(each.seen_in[:3]) + (" …" if len(each.seen_in) > 3 else ""),
        )
        for each in found
    ]
    verdict = (
        f"{len(found)} incidents, {sum(each.ended_at is None for each in found)} of them last" if found else "quiet"
    )
    columns = ("incident", "form", "where", "from", "to", "usual → seen", "seen in too")
    blocks: list[Block] = [Grid("Incidents", columns, rows, left=(0, 1, 2, 3, 4, 6))] if found else []
    if worst:
        blocks.append(course_chart(worst))
    if found:
        blocks.append(Snippet("Next", f"millstream rca report --incident {found[-1].incident_id}"))
    return Page("Incidents", _span(span), [verdict], blocks, "bad" if found else "good")


def job_page(story: JobStory) -> Page:
    first = story.timeline[0].occurred_at
    phases = [
        (phase.doing.replace("_", " "), str(phase.attempt), _after(first, phase.started_at), duration(phase.ms),
         phase.worker_id)
        for phase in story.phases
    ]  # fmt: skip
    steps = [
        (_after(first, step.occurred_at), step.kind, str(step.attempt), f"{step.host} {step.worker_version}".strip(),
         f"{step.error_type}: {step.error_message}"[:100] if step.error_type else step.message)
        for step in story.timeline
    ]  # fmt: skip
    places = [
        (str(each.attempt), each.host, each.place.replace("_", " "), f"{each.attempts:,}", f"{each.failed:,}",
         percent(each.failure_rate), duration(each.wait_p95_ms), duration(each.run_p95_ms))
        for each in story.neighbours
    ]  # fmt: skip
    failed = [
        (each.host, each.tenant, each.job_type, each.error_type, f"{each.failed:,}", str(each.example_job),
         each.example_message[:80])
        for each in story.failed_nearby[:MOST_ROWS]
    ]  # fmt: skip
    blocks: list[Block] = [
        Grid("Where its time went", ("doing", "attempt", "after", "for", "worker"), phases, left=(0, 4)),
        Grid("Its life", ("after", "event", "attempt", "where", "what"), steps, left=(1, 3, 4)),
    ]
    if places:
        beside = ("attempt", "host", "others", "attempts", "failed", "rate", "wait p95", "run p95")
        blocks.append(Grid("What ran at the same time", beside, places, left=(1, 2)))
    if failed:
        nearby = ("host", "tenant", "job type", "error", "failed", "such as", "message")
        blocks.append(Grid("What else failed on its hosts", nearby, failed, left=(0, 1, 2, 3, 5, 6)))
    subtitle = f"{story.job_type} of {story.tenant} on lane {story.lane}: {story.state}"
    return Page(
        f"Job {story.job_id}", subtitle, story.verdicts, blocks, "good" if story.state == "succeeded" else "bad"
    )


def errors_page(found: ErrorFamilies, shown: Course) -> Page:
    """`shown`: the failure rate around the window."""
    counts = {state: sum(each.state == state for each in found.families) for state in ("new", "returning", "regressed")}
    changed = [f"{count} {state}" for state, count in counts.items() if count]
    verdict = f"{len(found.families)} families of errors" + (f", {', '.join(changed)}" if changed else ", all known")
    blocks: list[Block] = []
    if found.deploy:
        blocks.append(
            Lines("Compared around", [f"deploy of {found.deploy.version}, {found.deploy.occurred_at:%m-%d %H:%M:%S}"])
        )
    blocks.append(course_chart(shown))
    if found.families:
        blocks.append(_families(found.families[:MOST_ROWS], len(found.families)))
        worst = found.families[0]
        blocks.append(Snippet("Next", f"millstream rca job {worst.example_job}"))
    return Page("Errors", _span(found.span), [verdict], blocks, "bad" if changed else "neutral")


def bottleneck_page(found: Bottleneck) -> Page:
    verdicts = [
        f"{each.kind.replace('_', ' ')}: {each.subject} {each.because}".replace("  ", " ") for each in found.verdicts
    ]
    facts = found.facts
    blocks: list[Block] = [
        _loads("By lane", facts.lanes),
        _loads("By tenant", facts.tenants),
        _loads("By job type", facts.types),
        _loads("By partition of the request", facts.partitions),
        Grid(
            "Workers",
            ("worker", "busy slots", "most at once", "time at its most"),
            [
                (each.value, f"{each.mean:.2f}", str(each.peak), percent(each.at_peak))
                for each in facts.workers[:MOST_ROWS]
            ],
        ),
    ]
    remedies = [each.remedy for each in found.verdicts if each.remedy]
    if remedies:
        blocks.append(Lines("What helps", remedies))
    quiet = all(each.kind == "none" for each in found.verdicts)
    return Page("Bottleneck", _span(found.span), verdicts, blocks, "good" if quiet else "bad")


def deploys_page(effects: Sequence[Effect], span: Window, shown: Course) -> Page:
    """`shown`: the failure rate over the window, in which the changes are marked."""
    worse = [each for each in effects if each.verdict == "worse"]
    verdicts = [f"{each.change.kind} {each.change.version} made it worse: {each.why}" for each in worse]
    rows = [
        (f"{each.change.occurred_at:%m-%d %H:%M:%S}", each.change.kind, each.change.service, each.change.version,
         each.verdict, each.why)
        for each in effects
    ]  # fmt: skip
    blocks: list[Block] = []
    if rows:
        columns = ("at", "kind", "service", "version", "verdict", "why")
        blocks.append(Grid("Before and after each change", columns, rows, left=(0, 1, 2, 3, 4, 5)))
    blocks.append(course_chart(shown, [(each.change.occurred_at, each.change.version) for each in effects]))
    canaries = [
        (each.canary.version, f"{each.canary.new.attempts:,}", percent(each.canary.new.failure_rate),
         duration(each.canary.new.run_p95_ms), each.canary.old.value, f"{each.canary.old.attempts:,}",
         percent(each.canary.old.failure_rate), duration(each.canary.old.run_p95_ms), each.canary.verdict)
        for each in effects if each.canary
    ]  # fmt: skip
    if canaries:
        sides = ("new", "attempts", "failed", "run p95", "old", "attempts", "failed", "run p95", "verdict")
        blocks.append(Grid("Releases that ran side by side", sides, canaries, left=(0, 4, 8)))
    quiet = f"{len(effects)} changes, none made it worse" if effects else "no change is recorded"
    return Page("Changes", _span(span), verdicts or [quiet], blocks, "bad" if worse else "good")


def tenants_page(found: TenantPressure) -> Page:
    rows = [
        (each.lane, each.victim, each.culprit, f"{each.waited_s:,.1f} s", percent(each.share), percent(each.busy_share))
        for each in found.blames[:MOST_ROWS]
    ]
    columns = ("lane", "who waited", "who ran", "waited", "of its waiting", "of the lane's run time")
    blocks: list[Block] = [
        Grid("Who waited behind whom", columns, rows, left=(0, 1, 2)),
        _metrics("Tenants", found.tenants),
    ]
    hurt = not found.verdicts[0].startswith("no tenant")
    return Page("Tenants", _span(found.span), found.verdicts, blocks, "bad" if hurt else "good")


def comparison_page(found: Comparison) -> Page:
    pairs = [
        ("attempts", f"{found.of_a.attempts:,}", f"{found.of_b.attempts:,}"),
        ("failure rate", percent(found.of_a.failure_rate), percent(found.of_b.failure_rate)),
        ("retries", f"{found.of_a.retries:,}", f"{found.of_b.retries:,}"),
        ("queue wait p50", duration(found.of_a.wait_p50_ms), duration(found.of_b.wait_p50_ms)),
        ("queue wait p95", duration(found.of_a.wait_p95_ms), duration(found.of_b.wait_p95_ms)),
        ("run time p50", duration(found.of_a.run_p50_ms), duration(found.of_b.run_p50_ms)),
        ("run time p95", duration(found.of_a.run_p95_ms), duration(found.of_b.run_p95_ms)),
        ("CPU of the run time", percent(found.of_a.cpu_share), percent(found.of_b.cpu_share)),
        ("busy slots", f"{found.of_a.busy_slots:.2f}", f"{found.of_b.busy_slots:.2f}"),
    ]
    rows = [
        (each.dimension, each.value, each.what, _figure(each.what, each.in_a), _figure(each.what, each.in_b))
        for each in found.differences[:MOST_ROWS]
    ]
    blocks: list[Block] = [Grid("As a whole", ("", "A", "B"), pairs)]
    if rows:
        columns = ("dimension", "value", "what", "in A", "in B")
        blocks.append(Grid("What differs beyond chance", columns, rows, left=(0, 1, 2)))
    verdict = (
        f"{len(found.differences)} differences beyond chance" if found.differences else "no difference by dimension"
    )
    return Page("Comparison", f"A: {found.a}; B: {found.b}", [verdict], blocks)


def explanation_blocks(found: Explanation) -> Iterator[Block]:
    """The causes with their evidence; without a cause the nearest candidates."""
    names = [cause_name(evidence) for evidence in found.evidence]
    yield from _causes(found.attribution, names, found.measured)
    for number, (name, evidence) in enumerate(zip(names, found.evidence, strict=True), start=1):
        yield Lines(f"Evidence for cause {number}: {name}", list(_evidence(evidence)))
        yield Snippet(f"The query that shows cause {number}", evidence.sql)
        yield Snippet(f"Next for cause {number}", evidence.next_command)


def _causes(found: Attribution, names: Sequence[str], measured: str) -> Iterator[Grid]:
    shown = found.findings or found.candidates[:3]
    rows = [
        (name, _counted(each.before), _counted(each.now), f"{each.expected:,.1f}", percent(each.share),
         f"{each.interval[0]:,.1f} to {each.interval[1]:,.1f}", percent(each.confidence), _other_names(name, each))
        for name, each in zip(names or [named(each.dimensions) for each in shown], shown, strict=True)
    ]  # fmt: skip
    columns = (
        "cause",
        "before",
        "now",
        "expected",
        "of the excess",
        "times expected",
        "confidence",
        "same attempts as",
    )
    if rows:
        title = f"{'Causes' if found.findings else 'Nearest candidates'}, by {measured}"
        yield Grid(title, columns, rows, left=(0, len(columns) - 1))


def _other_names(name: str, finding: Finding) -> str:
    """What else covers the same attempts, or nearly: the counts cannot tell which of the names is the cause."""
    others = [other for other in map(named, finding.names) if other != name]
    more = f" or {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    return " or ".join(f"({each})" for each in others[:MOST_NAMES]) + more


def attribution_page(title: str, found: Attribution, left_out: Mapping[str, str]) -> Page:
    """The answer of the engine on a file, where there is nothing to look up beside the counts."""
    blocks: list[Block] = [*_causes(found, [], "bad rows"), *_left_out(left_out)]
    names = ", and ".join(named(each.dimensions) for each in found.findings)
    verdicts = [names or VERDICTS.get(found.verdict, found.verdict)]
    return Page(title, _change(found), verdicts, blocks, "bad" if found.verdict in ("causes", "global") else "neutral")


def _change(found: Attribution) -> str:
    against = "the rest of the window, as there is no past" if found.compared_with == "the rest" else "before"
    return f"{_counted(found.now)} bad now, {found.expected:,.1f} expected from {_counted(found.before)} {against}"


def _left_out(left_out: Mapping[str, str]) -> list[Block]:
    return [Lines("Not looked at", [f"{name}: {why}" for name, why in left_out.items()])] if left_out else []


def cause_name(evidence: Evidence) -> str:
    """The cause by the name, of those for the same attempts, that has most in common with the changes near it."""
    near = {change.version for change in evidence.changes if change.version}
    near |= {value for change in evidence.changes for value in change.touches.values()}
    names = [evidence.finding.dimensions, *evidence.finding.aliases]
    return named(max(names, key=lambda name: len(near.intersection(name.values()))))


def explanation_verdict(found: Explanation) -> str:
    """One sentence: who or what it is."""
    attribution = found.attribution
    if attribution.verdict != "causes":
        return VERDICTS.get(attribution.verdict, attribution.verdict)
    also = f", and {len(attribution.findings) - 1} more" if len(attribution.findings) > 1 else ""
    share = attribution.findings[0].share
    return f"{found.metric.replace('_', ' ')}: {cause_name(found.evidence[0])} holds {share:.0%} of the excess{also}"


def explanation_page(found: Explanation, shown: Course) -> Page:
    """`shown`: the course of the metric around the incident."""
    blocks = [course_chart(shown), *explanation_blocks(found), *_left_out(found.left_out)]
    bad = found.attribution.verdict in ("causes", "global")
    title = f"Why {found.metric.replace('_', ' ')} changed"
    verdicts = [explanation_verdict(found), _change(found.attribution)]
    return Page(title, _span(found.incident), verdicts, blocks, "bad" if bad else "neutral")


def postmortem_page(found: Postmortem) -> Page:
    told, impact = found.incident, found.impact
    verdicts = [
        f"{told.metric.replace('_', ' ')} of {told.scope}: usually {amount(told.metric, told.expected)}, "
        f"{amount(told.metric, told.observed)} in the incident"
    ]
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
        course_chart(found.course, marks),
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
        blocks.append(_families(found.errors.families[:MOST_ROWS], len(found.errors.families)))
    blocks.append(Lines("Not explained", found.not_explained or ["nothing that is known of"]))
    return Page(f"Postmortem of {told.incident_id}", _span(found.span), verdicts, blocks, "bad")


def course_chart(shown: Course, marks: Sequence[tuple[datetime, str]] = ()) -> Chart:
    """The metric around the incident, which is marked where there is something before it to tell it from."""
    seen = [(at, name) for at, name in marks if shown.span.start <= at <= shown.span.end]
    title = f"{shown.metric.replace('_', ' ').capitalize()} over time"
    incident = (shown.incident.start, shown.incident.end) if shown.incident.start > shown.span.start else None
    return Chart(title, shown.unit, shown.moments, shown.values, incident, seen)


def named(dimensions: dict[str, str]) -> str:
    """`tenant=acme, job_type=reports.render`."""
    return ", ".join(f"{name}={value}" for name, value in dimensions.items())


def amount(metric: str, value: float) -> str:
    """A value of a watched metric with its unit."""
    if metric in SHARES:
        return percent(value)
    if metric in ("queue_wait", "run_time"):
        return duration(value)
    return f"{value:,.4g} a step"


def percent(share: float) -> str:
    return f"{share:.1%}"


def duration(ms: float) -> str:
    if ms < 1000:
        return f"{ms:,.0f} ms"
    return f"{ms / 1000:,.1f} s" if ms < 120_000 else f"{ms / 60_000:,.1f} min"


def _counted(counts: Counts) -> str:
    return f"{counts.bad:,.0f} of {counts.of:,.0f}"


def _evidence(evidence: Evidence) -> Iterator[str]:
    finding = evidence.finding
    yield (
        f"inside {percent(finding.before.rate)} → {percent(finding.now.rate)}, "
        f"outside {percent(finding.outside_before.rate)} → {percent(finding.outside_now.rate)}"
    )
    for control in finding.controls:
        yield f"with other values of {control.dimension} {_counted(control.now)}, {control.ratio:.2f} times expected"
    if evidence.first_seen:
        yield f"first one at {evidence.first_seen:%Y-%m-%d %H:%M:%S} UTC"
    for change in evidence.changes:
        when = f"{abs(change.offset_s):,.0f} s {'after' if change.offset_s > 0 else 'before'} it began"
        yield f"{change.kind} of {f'{change.service} {change.version}'.strip()}, {when}: {change.summary}"
    if evidence.example_jobs:
        yield "examples: " + ", ".join(evidence.example_jobs)


def _impact(found: Postmortem) -> Iterator[str]:
    impact = found.impact
    hit = [each for each in impact.tenants if each.hurt]
    lasted = (found.span.end - found.span.start).total_seconds() / 60
    yield f"{lasted:,.0f} minutes" + ("" if found.incident.ended_at else " so far; it lasts")
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


def _families(families: Sequence[Family], of: int) -> Grid:
    rows = [
        (each.state, f"{each.count:,}", f"{each.before:,}", f"{each.first_seen:%m-%d %H:%M:%S}",
         "" if each.deploy_ratio is None else f"{each.deploy_ratio:,.1f} x", ", ".join(each.tenants[:3]),
         ", ".join(each.versions[:3]), f"{each.error_type}: {each.template}"[:110])
        for each in families
    ]  # fmt: skip
    columns = ("state", "now", "before", "first seen", "since deploy", "tenants", "releases", "error")
    note = f"and {of - len(families)} more" if of > len(families) else ""
    return Grid("Families of errors", columns, rows, left=(0, 3, 5, 6, 7), note=note)


def _loads(title: str, loads: Sequence[Load]) -> Grid:
    rows = [
        (each.value, f"{each.arrivals_per_s:,.2f}", f"{each.starts_per_s:,.2f}", duration(each.wait_mean_ms),
         duration(each.wait_p95_ms), f"{each.queued:,.2f}", str(each.workers), str(each.partitions))
        for each in loads[:MOST_ROWS]
    ]  # fmt: skip
    columns = ("", "arrive/s", "start/s", "wait mean", "wait p95", "waiting at once", "workers", "partitions")
    return Grid(title, columns, rows)


def _metrics(title: str, rows: Sequence[Metrics]) -> Grid:
    shown = [
        (each.value, f"{each.attempts:,}", percent(each.failure_rate), duration(each.wait_p95_ms),
         duration(each.run_p95_ms), f"{each.busy_slots:,.2f}")
        for each in rows[:MOST_ROWS]
    ]  # fmt: skip
    return Grid(title, ("", "attempts", "failed", "wait p95", "run p95", "busy slots"), shown)


def _figure(what: str, value: float) -> str:
    return percent(value) if what == "failure rate" else duration(value)


def _after(first: datetime, moment: datetime) -> str:
    return duration((moment - first).total_seconds() * 1000)


def _span(span: Window) -> str:
    same_day = span.start.date() == span.end.date()
    return f"{span.start:%Y-%m-%d %H:%M:%S} to {span.end:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}} UTC"
