"""The report's plot covers the window that was asked for, also the part in which nothing happened."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from millstream.analytics.queries import AttemptCounts, Throughput
from millstream.pages.report import Report, _every_step, render

START = datetime(2026, 11, 24, 10, 0, 7, tzinfo=UTC)


def report(busy: datetime) -> Report:
    step = Throughput(
        step=busy, submitted=90, started=90, succeeded=90, failed=0, timed_out=0, cancelled=0, finished=90,
        finished_per_s=2.0,
    )  # fmt: skip
    counts = AttemptCounts(attempts=90, distinct_attempts=90, doubled=0, jobs=90, finished_jobs=90)
    return Report(START, START + timedelta(hours=1), 45, counts, [step], [], [], [], "", [])


def test_a_step_in_which_nothing_happened_is_nothing_and_not_a_line_between_its_neighbours() -> None:
    busy = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
    steps = _every_step(report(busy))
    assert [each.submitted if each else 0 for _, each in steps].count(0) == len(steps) - 1
    assert dict(steps)[busy] is not None
    assert steps[0][0] <= START < steps[1][0] and steps[-1][0] < START + timedelta(hours=1)


def test_the_headline_has_a_rate_that_is_not_zero_and_the_plot_the_ends_of_the_window() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(render(report(datetime(2026, 11, 24, 10, 30, tzinfo=UTC)), 120))
    text = out.getvalue()
    assert "90 attempts in 60.0 min (1.5 a minute)" in text
    assert "10:00" in text and "11:00" in text and "2026-11-24 UTC" in text
