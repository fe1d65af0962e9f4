"""The verdict on a deploy: failures first, then run time, then waiting; and no verdict on too little data."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millstream.analytics.rca.questions.attempt_stats import NO_ATTEMPTS, AttemptStats
from millstream.analytics.rca.questions.deploys import DeployedChange, _windows, judge

BASE = replace(NO_ATTEMPTS, attempts=1000, failed=10, failure_rate=0.01, run_p95_ms=100.0, wait_p95_ms=200.0)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def changed(**fields: float) -> AttemptStats:
    return replace(BASE, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (BASE, BASE, "no difference"),
        (BASE, changed(failed=200, failure_rate=0.2), "worse"),
        (changed(failed=200, failure_rate=0.2), BASE, "better"),
        (BASE, changed(run_p95_ms=900.0), "worse"),
        (changed(wait_p95_ms=9000.0), BASE, "better"),
        (changed(run_p95_ms=1.0), changed(run_p95_ms=4.0), "no difference"),
        (BASE, NO_ATTEMPTS, "too little data"),
        (replace(NO_ATTEMPTS, attempts=3), replace(NO_ATTEMPTS, attempts=3, run_p95_ms=9000.0), "too little data"),
    ],
)
def test_the_verdict_compares_failures_then_run_time_then_waiting(
    before: AttemptStats, after: AttemptStats, verdict: str
) -> None:
    assert judge(before, after)[0] == verdict


def test_failures_outweigh_a_better_run_time() -> None:
    verdict, why = judge(BASE, changed(failed=200, failure_rate=0.2, run_p95_ms=1.0))
    assert verdict == "worse" and why.startswith("failures")


def test_the_windows_of_a_change_end_at_its_neighbours() -> None:
    def change(minutes: int) -> DeployedChange:
        return DeployedChange(NOON + timedelta(minutes=minutes), "deploy", "workers", "v", "", "", {})

    found = [(before, after) for _, before, after in _windows([change(0), change(10)], timedelta(minutes=30))]
    lengths = [(before.seconds / 60, after.seconds / 60) for before, after in found]
    assert lengths == [(30, 10), (10, 30)]
