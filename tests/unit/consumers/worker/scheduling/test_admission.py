"""Admission control: what may be taken, and whose records are moved."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.worker.scheduling.admission import (
    KEYED_FACTOR,
    MEASURED_OVER_S,
    MOST_KEYS,
    RECORDS_A_KEY,
    Admission,
)
from millstream.consumers.worker.scheduling.latest_jobs import ALONE_AFTER_S


def flooded(tenant: str = "flood", records: int = 60, alone: bool = False) -> Admission:
    admission = Admission(100, 10**6, slow_after_s=0.15, slots=10)
    for _ in range(records):
        admission.take(tenant, 10)
    admission.latest.note("flood", "default", "a", 10.0)
    if not alone:
        admission.latest.note("small", "default", "a", 10.0)
    return admission


def test_a_tenant_that_does_not_drain_its_share_is_moved() -> None:
    admission = flooded()
    assert not admission.moves("flood", 10.0)
    assert not admission.moves("flood", 10.0 + 2 * MEASURED_OVER_S)
    assert admission.moves("flood", 12.0)
    assert not admission.moves("small", 10.0 + 2 * MEASURED_OVER_S)


def test_a_tenant_that_drains_fast_is_not_moved() -> None:
    admission = flooded()
    assert not admission.moves("flood", 10.0)
    for _ in range(100):
        admission.finish("flood", 10)
        admission.take("flood", 10)
    assert not admission.moves("flood", 10.0 + 2 * MEASURED_OVER_S)


def drained(admission: Admission, records: int, ran_s: float) -> bool:
    """Whether a tenant is moved that ran so many in two tenths of a second."""
    assert not admission.moves("flood", 10.0)
    for _ in range(records):
        admission.finish("flood", 10, ran_s=ran_s)
        admission.take("flood", 10)
    return admission.moves("flood", 10.0 + 2 * MEASURED_OVER_S)


def test_a_tenant_whose_jobs_occupy_their_slots_is_moved_and_one_whose_jobs_are_short_is_not() -> None:
    assert drained(flooded(), 20, ran_s=0.1)
    assert not drained(flooded(), 20, ran_s=0.001)


def test_a_tenant_whose_jobs_are_short_but_blocked_by_a_quota_is_moved() -> None:
    admission = flooded()
    assert not drained(admission, 3, ran_s=0.001)
    assert admission.moves("flood", 11.5)


def test_a_tenant_that_has_drained_is_not_moved_any_more() -> None:
    admission = flooded()
    admission.moves("flood", 10.0)
    assert admission.moves("flood", 12.0)
    for _ in range(40):
        admission.finish("flood", 10)
    assert not admission.moves("flood", 13.0)


def test_the_limit_is_raised_while_a_tenant_is_moved() -> None:
    admission = flooded(records=100)
    assert admission.full and not admission.roomy
    admission.moves("flood", 10.0)
    admission.settle(12.0)
    assert not admission.full and admission.roomy
    for _ in range(100):
        admission.take("others", 10)
    assert admission.full


def test_the_limit_is_raised_further_while_a_tenant_must_keep_its_records_but_not_beyond_its_bytes() -> None:
    admission = flooded(records=100)
    admission.moves("flood", 10.0)
    assert admission.moves("flood", 12.0)
    admission.take("flood", 10, kept=True)
    for _ in range(KEYED_FACTOR * 100 - 102):
        admission.take("flood", 10)
    assert not admission.full
    admission.take("others", 10)
    assert admission.full
    admission.finish("others", 10)
    admission.take("others", 2 * 10**6)
    assert admission.full


def test_a_tenant_that_kept_its_records_and_drained_them_leaves_the_admission_as_it_was() -> None:
    admission = flooded(records=100)
    admission.moves("flood", 10.0)
    assert admission.moves("flood", 12.0)
    for _ in range(500):
        admission.take("flood", 10, kept=True)
    for _ in range(600):
        admission.finish("flood", 10)
    for _ in range(100):
        admission.take("others", 10)
    assert admission.full


def test_bytes_fill_a_admission_as_records_do() -> None:
    admission = Admission(1000, 100, 1.0, 10)
    admission.take("a", 60)
    assert not admission.full
    admission.take("b", 60)
    assert admission.full
    admission.finish("a", 60)
    assert admission.roomy


def test_a_quarter_of_the_bytes_is_for_what_comes_back_from_the_overflow() -> None:
    admission = Admission(1000, 400, 0.1, 10)
    admission.take("a", 99, overflow=True)
    assert not admission.overflow_full
    admission.take("a", 1, overflow=True)
    assert admission.overflow_full and not admission.full
    admission.finish("a", 99, overflow=True)
    assert not admission.overflow_full


def test_a_tenant_that_is_alone_is_not_moved_until_somebody_else_comes() -> None:
    admission = flooded(records=100, alone=True)
    admission.moves("flood", 10.0)
    assert admission.moves("flood", 12.0) and admission.alone
    assert admission.full, "there is nobody to take more for"
    admission.latest.note("small", "default", "a", 13.0)
    admission.settle(13.0)
    assert not admission.alone and not admission.full
    admission.latest.note("flood", "default", "a", 13.1)
    admission.settle(13.2 + ALONE_AFTER_S)
    assert admission.alone and admission.full


def test_a_tenant_with_jobs_in_two_lanes_is_not_alone() -> None:
    admission = flooded(alone=True)
    admission.latest.note("flood", "high", "a", 10.5)
    admission.moves("flood", 10.0)
    assert admission.moves("flood", 12.0) and not admission.alone
    assert admission.is_other("flood", "default", "a")


def test_jobs_that_something_holds_back_while_slots_are_free_do_not_hold_back_other_types_of_a_tenant_alone() -> None:
    all_used = True
    admission = Admission(100, 10**6, slow_after_s=0.15, slots=10, all_slots_used=lambda: all_used)
    for _ in range(100):
        admission.take("flood", 10)
    for second in range(10, 13):
        admission.latest.note("flood", "default", "a" if second == 10 else "b", second)
        admission.moves("flood", second)
        admission.settle(second)
    assert admission.alone and not admission.is_other("flood", "default", "c"), "only slots are short"
    all_used = False
    admission.settle(13.5)
    assert not admission.alone
    assert admission.is_other("flood", "default", "c")


def test_a_large_flood_is_spread_over_partitions_and_what_never_ends_is_not() -> None:
    admission = flooded()
    admission.moves("flood", 10.0)
    admission.moves("flood", 12.0)
    assert {admission.overflow_key("flood") for _ in range(10_000)} == {"flood"}
    flowing = flooded()
    flowing.moves("flood", 10.0)
    flowing.finish("flood", 10)
    flowing.moves("flood", 12.0)
    keys = [flowing.overflow_key("flood") for _ in range(10_000)]
    assert set(keys[:RECORDS_A_KEY]) == {"flood"}
    assert len(set(keys)) == MOST_KEYS
    assert max(Counter(keys[2_000:]).values()) <= 8_000 / MOST_KEYS + 1


def test_one_of_very_many_tenants_holds_a_few_jobs_without_being_over_its_share() -> None:
    admission = Admission(2_000, 10**6, slow_after_s=0.15, slots=10)
    for number in range(1_900):
        admission.take(f"t{number}", 10)
        assert not admission.moves(f"t{number}", 10.0)
    for _ in range(5):
        admission.take("t0", 10)
        assert not admission.moves("t0", 20.0)
    assert not admission._excess


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans()), max_size=100))
def test_what_is_finished_leaves_nothing_behind(records: list[tuple[str, int, bool]]) -> None:
    admission = Admission(10, 100, 0.1, 10)
    for record in records:
        admission.take(*record)
        admission.moves(record[0], 1.0)
    assert admission.records == len(records)
    for record in records:
        admission.finish(*record)
    assert admission.records == 0 and admission.roomy and not admission.overflow_full and not admission.full
