"""Families of errors as a page."""

import shlex
from collections.abc import Sequence

from millstream.analytics.rca.questions.errors import ErrorFamilies, Family
from millstream.analytics.rca.questions.timeseries import Timeseries
from millstream.pages.answers.timeseries import timeseries_chart
from millstream.pages.format import MOST_ROWS, window_text
from millstream.pages.page import Block, Grid, Lines, Page, Snippet


def errors_page(found: ErrorFamilies, shown: Timeseries) -> Page:
    """`shown`: the failure rate around the window."""
    counts = {state: sum(each.state == state for each in found.families) for state in ("new", "returning", "regressed")}
    changed = [f"{count} {state}" for state, count in counts.items() if count]
    verdict = f"{len(found.families)} families of errors" + (f", {', '.join(changed)}" if changed else ", all known")
    blocks: list[Block] = []
    if found.deploy:
        blocks.append(
            Lines("Compared around", [f"deploy of {found.deploy.version}, {found.deploy.occurred_at:%m-%d %H:%M:%S}"])
        )
    blocks.append(timeseries_chart(shown))
    if found.families:
        blocks.append(families_grid(found.families[:MOST_ROWS], len(found.families)))
        worst = found.families[0]
        blocks.append(Snippet("Next", shlex.join(["millstream", "rca", "job", worst.example_job])))
    return Page(
        "Errors", window_text(found.span.start, found.span.end), [verdict], blocks, "bad" if changed else "neutral"
    )


def families_grid(families: Sequence[Family], of: int) -> Grid:
    rows = [
        (each.state, f"{each.count:,}", f"{each.before:,}", f"{each.first_seen:%m-%d %H:%M:%S}",
         "" if each.deploy_ratio is None else f"{each.deploy_ratio:,.1f} x", ", ".join(each.tenants[:3]),
         ", ".join(each.versions[:3]), f"{each.error_type}: {each.template}"[:110])
        for each in families
    ]  # fmt: skip
    columns = ("state", "now", "before", "first seen", "since deploy", "tenants", "releases", "error")
    note = f"and {of - len(families)} more" if of > len(families) else ""
    return Grid("Families of errors", columns, rows, left=(0, 3, 5, 6, 7), note=note)
