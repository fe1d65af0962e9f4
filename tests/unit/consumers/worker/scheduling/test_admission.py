"""The window: what may be taken, and whose records are moved."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.worker.scheduling.admission import KEPT_STRETCH, MEASURED_OVER_S, Admission


def flooded(tenant: str = "flood", records: int = 60) -> Admission:
    window = Admission(100, 10**6, slow_after_s=0.15, places=10)
    for _ in range(records):
        window.take(tenant, 10)
    return window


def test_a_tenant_that_does_not_drain_its_share_is_moved() -> None:
    window = flooded()
    assert not window.moves("flood", 10.0)
    assert not window.moves("flood", 10.0 + 2 * MEASURED_OVER_S)
    assert window.moves("flood", 12.0)
    assert not window.moves("small", 10.0 + 2 * MEASURED_OVER_S)


def test_a_tenant_that_drains_fast_is_left_alone() -> None:
    window = flooded()
    assert not window.moves("flood", 10.0)
    for _ in range(100):
        window.finish("flood", 10)
        window.take("flood", 10)
    assert not window.moves("flood", 10.0 + 2 * MEASURED_OVER_S)


def drained(window: Admission, records: int, ran_s: float) -> bool:
    """Whether a tenant is moved that ran so many in two tenths of a second."""
    assert not window.moves("flood", 10.0)
    for _ in range(records):
        window.finish("flood", 10, ran_s=ran_s)
        window.take("flood", 10)
    return window.moves("flood", 10.0 + 2 * MEASURED_OVER_S)


def test_a_tenant_whose_jobs_fill_their_places_is_moved_and_one_whose_jobs_are_short_is_not() -> None:
    assert drained(flooded(), 20, ran_s=0.1)
    assert not drained(flooded(), 20, ran_s=0.001)


def test_a_tenant_whose_jobs_are_short_but_held_up_by_a_quota_is_moved() -> None:
    window = flooded()
    assert not drained(window, 3, ran_s=0.001)
    assert window.moves("flood", 11.5)


def test_a_tenant_that_has_drained_is_not_moved_any_more() -> None:
    window = flooded()
    window.moves("flood", 10.0)
    assert window.moves("flood", 12.0)
    for _ in range(40):
        window.finish("flood", 10)
    assert not window.moves("flood", 13.0)


def test_a_full_window_stretches_while_a_tenant_is_moved() -> None:
    window = flooded(records=100)
    assert window.full and not window.roomy
    window.moves("flood", 10.0)
    window.settle(12.0)
    assert not window.full and window.roomy
    for _ in range(100):
        window.take("others", 10)
    assert window.full


def test_a_window_stretches_further_while_a_tenant_must_keep_its_records_and_not_beyond_its_bytes() -> None:
    window = flooded(records=100)
    window.moves("flood", 10.0)
    assert window.moves("flood", 12.0)
    window.take("flood", 10, kept=True)
    for _ in range(KEPT_STRETCH * 100 - 102):
        window.take("flood", 10)
    assert not window.full
    window.take("others", 10)
    assert window.full
    window.finish("others", 10)
    window.take("others", 2 * 10**6)
    assert window.full


def test_a_tenant_that_kept_its_records_and_drained_them_leaves_the_window_as_it_was() -> None:
    window = flooded(records=100)
    window.moves("flood", 10.0)
    assert window.moves("flood", 12.0)
    for _ in range(500):
        window.take("flood", 10, kept=True)
    for _ in range(600):
        window.finish("flood", 10)
    for _ in range(100):
        window.take("others", 10)
    assert window.full


def test_bytes_fill_a_window_as_records_do() -> None:
    window = Admission(1000, 100, 1.0, 10)
    window.take("a", 60)
    assert not window.full
    window.take("b", 60)
    assert window.full
    window.finish("a", 60)
    assert window.roomy


def test_a_quarter_of_the_bytes_is_for_what_comes_back_from_the_overflow() -> None:
    window = Admission(1000, 400, 0.1, 10)
    window.take("a", 99, overflow=True)
    assert not window.overflow_full
    window.take("a", 1, overflow=True)
    assert window.overflow_full and not window.full
    window.finish("a", 99, overflow=True)
    assert not window.overflow_full


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans()), max_size=100))
def test_what_is_finished_leaves_nothing_behind(records: list[tuple[str, int, bool]]) -> None:
    window = Admission(10, 100, 0.1, 10)
    for record in records:
        window.take(*record)
        window.moves(record[0], 1.0)
    assert window.records == len(records)
    for record in records:
        window.finish(*record)
    assert window.records == 0 and window.roomy and not window.overflow_full and not window.full
