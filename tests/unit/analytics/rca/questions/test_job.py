"""One job's story: where its time went, and what its failures have in common with others'."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from millstream.analytics.queries import TimelineStep
from millstream.analytics.rca.questions.job import Neighbours, judge, phases_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def step(seconds: float, kind: str, attempt: int = 1, error_type: str = "") -> TimelineStep:
    return TimelineStep(
        NOON + timedelta(seconds=seconds),
        seconds * 1000,
        kind,
        attempt,
        False,
        "w1",
        "host-1",
        "v1",
        None,
        None,
        None,
        None,
        "",
        error_type,
        "",
        None,
        "acme",
        "mail",
        "default",
    )


def around(place: str, failed: int, attempts: int = 1000) -> Neighbours:
    return Neighbours(1, "host-1", place, attempts, failed, failed / attempts, 0.0, 0.0)


FAILED = [step(0, "submitted"), step(8, "started"), step(10, "failed", error_type="ValueError")]


def test_a_jobs_life_is_cut_into_waiting_running_retry_delays_and_lost_starts() -> None:
    timeline = [
        *FAILED,
        step(15, "started", 2),
        step(16, "progress", 2),
        step(20, "started", 2),
        step(21, "succeeded", 2),
    ]
    phases = [(phase.doing, phase.ms / 1000) for phase in phases_of(timeline)]
    assert phases == [("waiting", 8), ("running", 2), ("retry_delay", 5), ("lost", 5), ("running", 1)]


def said(timeline: list[TimelineStep], *neighbours: Neighbours) -> list[str]:
    return list(judge(timeline, list(phases_of(timeline)), neighbours))


def test_the_longest_phase_comes_first() -> None:
    assert said(FAILED) == ["80% of its 10.0 s it was in the queue"]


def test_a_lost_start_is_reported() -> None:
    timeline = [step(0, "submitted"), step(1, "started"), step(5, "started"), step(6, "succeeded")]
    assert "starts without an outcome: 1; the worker was lost, and the job ran again" in said(timeline)


def test_a_host_that_fails_others_jobs_too_is_named_and_one_that_does_not_is_not() -> None:
    bad = said(FAILED, around("same_host", 300), around("same_type_elsewhere", 10))
    assert any(line.startswith("host host-1 fails jobs of others too: 30% of 1000") for line in bad)
    same = said(FAILED, around("same_host", 10), around("same_type_elsewhere", 10))
    assert len(same) == 1


def test_a_type_that_fails_everywhere_is_named() -> None:
    lines = said(FAILED, around("same_host", 10), around("same_type_elsewhere", 300))
    assert any(line.startswith("mail fails on other hosts too: 30% of 1000") for line in lines)


def test_attempts_that_fail_the_same_way_differ_from_attempts_that_do_not() -> None:
    again = [*FAILED, step(12, "started", 2), step(13, "failed", 2, "ValueError")]
    assert "2 attempts failed the same way (ValueError): a retry does not help" in said(again)
    differently = [*again[:-1], replace(again[-1], error_type="KeyError")]
    assert "its attempts failed in different ways: KeyError, ValueError" in said(differently)


def test_retries_that_helped_are_said_to_have_helped() -> None:
    again = [*FAILED, step(12, "started", 2), step(13, "failed", 2, "ValueError")]
    lines = said([*again, step(14, "started", 3), step(15, "succeeded", 3)])
    assert lines[-1] == "attempt 3 succeeded after 2 had failed (ValueError)"
    assert not any("does not help" in line for line in lines)
