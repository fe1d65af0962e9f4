"""Two windows or two values of a dimension as a page."""

from millstream.analytics.rca.questions.compare import Comparison
from millstream.pages.format import MOST_ROWS, duration, percent
from millstream.pages.page import Block, Grid, Page


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


def _figure(what: str, value: float) -> str:
    return percent(value) if what == "failure rate" else duration(value)
