"""Quotas: what may begin, and when."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millstream.consumers.worker.scheduling import quotas as quotas_module
from millstream.consumers.worker.scheduling.quotas import MAX_IDLE, Quota, Quotas


def test_no_more_run_at_once_than_a_tenant_may() -> None:
    quotas = Quotas({("tenant", "a"): Quota(max_concurrency=2)})
    quotas.enter("a", "t", "l")
    assert quotas.wait("tenant", "a", 0) == 0
    quotas.enter("a", "t", "l")
    assert quotas.wait("tenant", "a", 0) == math.inf
    quotas.leave("a", "t", "l")
    assert quotas.wait("tenant", "a", 0) == 0


def test_a_quota_set_while_jobs_run_counts_those_that_run() -> None:
    quotas = Quotas()
    quotas.enter("a", "t", "l")
    quotas.set("job_type", "t", Quota(max_concurrency=1))
    assert quotas.wait("job_type", "t", 0) == math.inf


def test_what_is_paused_waits_until_it_is_resumed() -> None:
    quotas = Quotas()
    quotas.pause("tenant", "a")
    assert quotas.wait("tenant", "a", 0) == math.inf
    quotas.pause("tenant", "a", False)
    assert quotas.wait("tenant", "a", 0) == 0


@given(rate=st.floats(0.1, 500), seconds=st.integers(1, 20))
def test_no_more_begin_than_the_rate_allows(rate: float, seconds: int) -> None:
    quotas = Quotas({("tenant", "a"): Quota(max_per_second=rate)})
    now = 100.0
    begun = 0
    while (wait := quotas.wait("tenant", "a", now)) + now < 100 + seconds:
        now += wait
        if wait == 0:
            quotas.enter("a", "t", "l")
            begun += 1
    burst = max(1.0, rate)
    assert rate * seconds - 1 <= begun <= burst + rate * seconds + 1


def test_an_order_is_the_whole_difference_from_what_is_configured() -> None:
    quotas = Quotas({("tenant", "a"): Quota(max_concurrency=3, weight=2)})
    quotas.apply_limits("tenant", "a", max_per_second=5)
    assert quotas.quota("tenant", "a") == Quota(max_concurrency=3, weight=2, max_per_second=5)
    quotas.apply_limits("tenant", "a", max_concurrency=1)
    assert quotas.quota("tenant", "a") == Quota(max_concurrency=1, weight=2)
    quotas.apply_limits("tenant", "a")
    assert quotas.quota("tenant", "a") == Quota(max_concurrency=3, weight=2)


def test_an_order_lifts_what_an_earlier_one_limited() -> None:
    quotas = Quotas()
    quotas.apply_limits("lane", "bulk", max_concurrency=0)
    assert quotas.wait("lane", "bulk", 0) == math.inf
    quotas.apply_limits("lane", "bulk")
    assert quotas.wait("lane", "bulk", 0) == 0


def test_a_command_that_cannot_be_applied_leaves_the_quota_unchanged() -> None:
    quotas = Quotas()
    quotas.apply_limits("tenant", "a", weight=3)
    with pytest.raises(ValidationError, match="weight"):
        quotas.apply_limits("tenant", "a", weight=0)
    assert quotas.quota("tenant", "a") == Quota(weight=3)


def test_idle_tenants_are_removed() -> None:
    quotas = Quotas()
    for number in range(2 * MAX_IDLE):
        quotas.enter(f"t{number}", "t", "l")
        quotas.leave(f"t{number}", "t", "l")
    assert len(quotas._tenants) <= MAX_IDLE + 3


def test_the_names_are_looked_through_once_for_as_many_jobs_as_there_are_names_with_a_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_through = 0
    drop_idle = quotas_module._drop_idle

    def counted(usages: dict[str, quotas_module._Usage]) -> int:
        nonlocal looked_through
        looked_through += len(usages)
        return drop_idle(usages)

    monkeypatch.setattr(quotas_module, "_drop_idle", counted)
    names = 3 * MAX_IDLE
    quotas = Quotas({("tenant", f"t{number}"): Quota(weight=2) for number in range(names)})
    for number in range(names):
        quotas.enter(f"t{number}", "t", "l")
        quotas.leave(f"t{number}", "t", "l")
    assert looked_through <= 2 * names
    assert quotas.weight("t0") == 2
