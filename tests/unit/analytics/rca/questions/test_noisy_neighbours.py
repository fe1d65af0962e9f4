"""Who waits, and behind whom."""

from dataclasses import replace

from millstream.analytics.rca.questions.attempt_stats import NO_ATTEMPTS, AttemptStats
from millstream.analytics.rca.questions.noisy_neighbours import Blame, judge


def tenant(value: str, wait_p95_ms: float) -> AttemptStats:
    return replace(NO_ATTEMPTS, value=value, attempts=100, wait_p95_ms=wait_p95_ms)


def behind(culprit: str, share: float) -> Blame:
    return Blame("default", "small", culprit, 100 * share, share, 0.8)


def test_a_tenant_behind_one_other_names_it() -> None:
    (line,) = judge([tenant("small", 9000), tenant("flood", 10)], [behind("flood", 0.9), behind("small", 0.1)])
    assert line.startswith("small waits 9.0 s (p95) behind flood") and "80% of the run time of lane default" in line


def test_a_tenant_behind_its_own_jobs_is_not_delayed_by_others() -> None:
    (line,) = judge([tenant("small", 9000)], [behind("small", 0.7), behind("flood", 0.3)])
    assert "behind its own jobs" in line


def test_a_tenant_behind_many_names_the_largest_without_calling_it_the_cause() -> None:
    (line,) = judge([tenant("small", 9000)], [behind("a", 0.4), behind("b", 0.3), behind("c", 0.3)])
    assert "behind several tenants, most behind a" in line


def test_a_tenant_that_waits_alone_is_not_delayed_by_others() -> None:
    (line,) = judge([tenant("small", 9000)], [])
    assert "other tenants are not the cause" in line


def test_the_longest_wait_comes_first_and_short_waits_are_not_mentioned() -> None:
    lines = list(judge([tenant("a", 2000), tenant("b", 8000), tenant("c", 10)], []))
    assert [line.split()[0] for line in lines] == ["b", "a"]
    assert list(judge([tenant("c", 10)], [])) == ["no tenant waits longer than 1 s (p95)"]
