"""Changes and their effects as a page."""

from collections.abc import Sequence

from millstream.analytics.rca.questions.deploys import Effect
from millstream.analytics.rca.questions.timeseries import Timeseries
from millstream.analytics.rca.window import Window
from millstream.pages.answers.timeseries import timeseries_chart
from millstream.pages.format import duration, percent, window_text
from millstream.pages.page import Block, Grid, Page


def deploys_page(effects: Sequence[Effect], span: Window, shown: Timeseries) -> Page:
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
    blocks.append(timeseries_chart(shown, [(each.change.occurred_at, each.change.version) for each in effects]))
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
    return Page("Changes", window_text(span.start, span.end), verdicts or [quiet], blocks, "bad" if worse else "good")
