"""Which tenants waited behind which as a page."""

from collections.abc import Sequence

from millstream.analytics.rca.questions.attempt_stats import AttemptStats
from millstream.analytics.rca.questions.noisy_neighbours import NoisyNeighbours
from millstream.pages.format import MOST_ROWS, duration, percent, window_text
from millstream.pages.page import Block, Grid, Page


def noisy_neighbours_page(found: NoisyNeighbours) -> Page:
    rows = [
        (each.lane, each.victim, each.culprit, f"{each.waited_s:,.1f} s", percent(each.share), percent(each.busy_share))
        for each in found.blames[:MOST_ROWS]
    ]
    columns = ("lane", "who waited", "who ran", "waited", "of its waiting", "of the lane's run time")
    blocks: list[Block] = [
        Grid("Who waited behind whom", columns, rows, left=(0, 1, 2)),
        _metrics("Tenants", found.tenants),
    ]
    delayed = not found.verdicts[0].startswith("no tenant")
    return Page(
        "Tenants", window_text(found.span.start, found.span.end), found.verdicts, blocks, "bad" if delayed else "good"
    )


def _metrics(title: str, rows: Sequence[AttemptStats]) -> Grid:
    shown = [
        (each.value, f"{each.attempts:,}", percent(each.failure_rate), duration(each.wait_p95_ms),
         duration(each.run_p95_ms), f"{each.busy_slots:,.2f}")
        for each in rows[:MOST_ROWS]
    ]  # fmt: skip
    return Grid(title, ("", "attempts", "failed", "wait p95", "run p95", "busy slots"), shown)
