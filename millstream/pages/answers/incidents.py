"""Detected incidents as a page."""

import shlex
from collections.abc import Sequence

from millstream.analytics.rca.detection.incidents import Incident
from millstream.analytics.rca.questions.timeseries import Timeseries
from millstream.analytics.rca.window import Window
from millstream.pages.answers.timeseries import timeseries_chart
from millstream.pages.format import amount, window_text
from millstream.pages.page import Block, Grid, Page, Snippet


def incidents_page(found: Sequence[Incident], span: Window, worst: Timeseries | None = None) -> Page:
    """`worst`: the time series of the incident with the highest score."""
    rows = [
        (
            each.incident_id,
            each.kind,
            each.scope,
            f"{each.started_at:%m-%d %H:%M}",
            f"{each.ended_at:%m-%d %H:%M}" if each.ended_at else "ongoing",
            f"{amount(each.metric, each.expected)} → {amount(each.metric, each.observed)}",
            ", ".join(each.seen_in[:3]) + (" …" if len(each.seen_in) > 3 else ""),
        )
        for each in found
    ]
    verdict = (
        f"{len(found)} incidents, {sum(each.ended_at is None for each in found)} of them ongoing"
        if found
        else "no incident"
    )
    columns = ("incident", "kind", "scope", "from", "to", "usual → observed", "also seen in")
    blocks: list[Block] = [Grid("Incidents", columns, rows, left=(0, 1, 2, 3, 4, 6))] if found else []
    if worst:
        blocks.append(timeseries_chart(worst))
    if found:
        command = ["millstream", "rca", "report", "--incident", found[-1].incident_id]
        blocks.append(Snippet("Next", shlex.join(command)))
    return Page("Incidents", window_text(span.start, span.end), [verdict], blocks, "bad" if found else "good")
