"""Where jobs queue as a page."""

from collections.abc import Sequence

from millstream.analytics.rca.questions.bottleneck import Bottleneck
from millstream.analytics.rca.questions.bottleneck_verdicts import Load
from millstream.pages.format import MOST_ROWS, duration, percent, window_text
from millstream.pages.page import Block, Grid, Lines, Page


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
            ("worker", "busy slots", "peak", "time at peak"),
            [
                (each.value, f"{each.mean:.2f}", str(each.peak), percent(each.at_peak))
                for each in facts.workers[:MOST_ROWS]
            ],
        ),
    ]
    remedies = [each.remedy for each in found.verdicts if each.remedy]
    if remedies:
        blocks.append(Lines("Remedies", remedies))
    quiet = all(each.kind == "none" for each in found.verdicts)
    return Page(
        "Bottleneck", window_text(found.span.start, found.span.end), verdicts, blocks, "good" if quiet else "bad"
    )


def _loads(title: str, loads: Sequence[Load]) -> Grid:
    rows = [
        (each.value, f"{each.arrivals_per_s:,.2f}", f"{each.starts_per_s:,.2f}", duration(each.wait_mean_ms),
         duration(each.wait_p95_ms), f"{each.queued:,.2f}", str(each.workers), str(each.partitions))
        for each in loads[:MOST_ROWS]
    ]  # fmt: skip
    columns = ("", "arrive/s", "start/s", "wait mean", "wait p95", "waiting at once", "workers", "partitions")
    return Grid(title, columns, rows)
