"""A line appears at once, then at most once in an interval with the number of those left out."""

import threading

from millstream.line_rate import MOST_KINDS, LineRate


def test_the_first_line_is_written_and_the_next_one_counts_those_between() -> None:
    now = [0.0]
    rate = LineRate(10.0, lambda: now[0])
    assert [rate.admit("a") for _ in range(5)] == [0, None, None, None, None]
    assert rate.admit("b") == 0
    now[0] = 10.0
    assert rate.admit("a") == 4


def test_many_kinds_take_bounded_memory() -> None:
    rate = LineRate(10.0, lambda: 0.0)
    for kind in range(10 * MOST_KINDS):
        rate.admit(kind)
    assert len(rate._written_at) <= MOST_KINDS


def test_all_kinds_together_are_limited_where_others_make_them_up() -> None:
    now = [100.0]
    rate = LineRate(1.0, lambda: now[0], most=10)
    for _ in range(2):
        assert sum(rate.admit(kind) is not None for kind in range(100)) == 10
        now[0] += 1


def test_kinds_without_end_do_not_fill_the_memory_of_a_limit_on_all() -> None:
    now = [100.0]
    rate = LineRate(1.0, lambda: now[0], most=10)
    for kind in range(20 * MOST_KINDS):
        rate.admit(kind)
        now[0] += 0.01
    assert len(rate._written_at) + len(rate._left_out) < 3 * MOST_KINDS


def test_no_line_of_many_threads_is_lost_from_the_count() -> None:
    now = [0.0]
    rate = LineRate(10.0, lambda: now[0])
    threads = [threading.Thread(target=lambda: [rate.admit("a") for _ in range(1_000)]) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    now[0] = 10.0
    assert rate.admit("a") == 7_999
