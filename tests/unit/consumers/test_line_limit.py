"""Lines of one kind, and of all kinds together, are limited."""

from millstream.consumers.line_limit import MOST_KINDS, LineLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_line_of_a_kind_is_written_and_those_left_out_are_counted() -> None:
    clock = Clock()
    limit = LineLimit(1.0, 10, clock)
    assert [limit.admit("a") for _ in range(4)] == [0, None, None, None]
    assert limit.admit("b") == 0
    clock.now += 1
    assert limit.admit("a") == 3
    assert limit.admit("a") is None


def test_all_kinds_together_are_limited_too() -> None:
    clock = Clock()
    limit = LineLimit(1.0, 10, clock)
    assert sum(limit.admit(kind) is not None for kind in range(100)) == 10
    clock.now += 1
    assert sum(limit.admit(kind) is not None for kind in range(100)) == 10


def test_kinds_without_end_do_not_fill_the_memory() -> None:
    clock = Clock()
    limit = LineLimit(1.0, 10, clock)
    for kind in range(20 * MOST_KINDS):
        limit.admit(kind)
        clock.now += 0.01
    assert len(limit._written_at) + len(limit._left_out) < 3 * MOST_KINDS
