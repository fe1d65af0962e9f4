"""The causes of a change as a page, with the evidence for each."""

from collections.abc import Iterator, Mapping, Sequence

from millstream.analytics.rca.attribution.attribution import Attribution, Counts, Finding
from millstream.analytics.rca.attribution.explain import Evidence, Explanation
from millstream.analytics.rca.questions.timeseries import Timeseries
from millstream.pages.answers.timeseries import timeseries_chart
from millstream.pages.format import percent, window_text
from millstream.pages.page import Block, Grid, Lines, Page, Snippet

MOST_NAMES = 3
VERDICTS = {
    "global": "global: no dimension stands out",
    "too little data": "too little data to name a cause",
    "nothing unusual": "nothing unusual against the baseline",
}


def explanation_page(found: Explanation, shown: Timeseries) -> Page:
    """`shown`: the timeseries of the metric around the incident."""
    blocks = [timeseries_chart(shown), *explanation_blocks(found), *_left_out(found.left_out)]
    bad = found.attribution.verdict in ("causes", "global")
    title = f"Why {found.metric.replace('_', ' ')} changed"
    verdicts = [explanation_verdict(found), _change(found.attribution)]
    return Page(
        title, window_text(found.incident.start, found.incident.end), verdicts, blocks, "bad" if bad else "neutral"
    )


def attribution_page(title: str, found: Attribution, left_out: Mapping[str, str]) -> Page:
    """The attribution of a file, for which there is no evidence beside the counts."""
    blocks: list[Block] = [*_causes(found, [], "bad rows"), *_left_out(left_out)]
    names = ", and ".join(named(each.dimensions) for each in found.findings)
    verdicts = [names or VERDICTS.get(found.verdict, found.verdict)]
    return Page(title, _change(found), verdicts, blocks, "bad" if found.verdict in ("causes", "global") else "neutral")


def explanation_verdict(found: Explanation) -> str:
    """One sentence that names the cause."""
    attribution = found.attribution
    if attribution.verdict != "causes":
        return VERDICTS.get(attribution.verdict, attribution.verdict)
    also = f", and {len(attribution.findings) - 1} more" if len(attribution.findings) > 1 else ""
    share = attribution.findings[0].share
    return f"{found.metric.replace('_', ' ')}: {cause_name(found.evidence[0])} holds {share:.0%} of the excess{also}"


def explanation_blocks(found: Explanation) -> Iterator[Block]:
    """The causes with their evidence; the nearest candidates if there is no cause."""
    names = [cause_name(evidence) for evidence in found.evidence]
    yield from _causes(found.attribution, names, found.measured)
    for number, (name, evidence) in enumerate(zip(names, found.evidence, strict=True), start=1):
        yield Lines(f"Evidence for cause {number}: {name}", list(_evidence(evidence)))
        yield Snippet(f"The query that shows cause {number}", evidence.sql)
        yield Snippet(f"Next for cause {number}", evidence.next_command)


def cause_name(evidence: Evidence) -> str:
    """Of the names for the same attempts, the one that has most in common with the changes near the incident."""
    near = {change.version for change in evidence.changes if change.version}
    near |= {value for change in evidence.changes for value in change.touches.values()}
    names = [evidence.finding.dimensions, *evidence.finding.aliases]
    return named(max(names, key=lambda name: len(near.intersection(name.values()))))


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


def _other_names(name: str, finding: Finding) -> str:
    """Other names for (nearly) the same attempts: the counts cannot decide which of the names is the cause."""
    others = [other for other in map(named, finding.names) if other != name]
    more = f" or {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    return " or ".join(f"({each})" for each in others[:MOST_NAMES]) + more


def _change(found: Attribution) -> str:
    against = "the rest of the window, as there is no past" if found.compared_with == "the rest" else "before"
    return f"{_counted(found.now)} bad now, {found.expected:,.1f} expected from {_counted(found.before)} {against}"


def _counted(counts: Counts) -> str:
    return f"{counts.bad:,.0f} of {counts.of:,.0f}"


def _left_out(left_out: Mapping[str, str]) -> list[Block]:
    return [Lines("Not examined", [f"{name}: {why}" for name, why in left_out.items()])] if left_out else []


def named(dimensions: dict[str, str]) -> str:
    """`tenant=acme, job_type=reports.render`."""
    return ", ".join(f"{name}={value}" for name, value in dimensions.items())
