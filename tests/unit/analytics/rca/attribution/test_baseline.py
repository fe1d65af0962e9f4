"""The baseline: each leaf against its own past, and a leaf with little past drawn to what its dimensions say."""

import numpy as np
import pytest

from millstream.analytics.rca.attribution.baseline import has_past, shrunk_rate
from millstream.analytics.rca.attribution.leaves import Leaves


def leaves(bad_before: list[float], of_before: list[float], bad_now: list[float], of_now: list[float]) -> Leaves:
    tenants = [f"t{number}" for number in range(len(of_now))]
    return Leaves.of_columns({"tenant": tenants}, bad_before, of_before, bad_now, of_now)


def test_a_leaf_with_much_past_is_expected_to_be_as_it_was() -> None:
    rates = shrunk_rate(leaves([10, 300], [1000, 1000], [10, 300], [1000, 1000]))
    assert rates == pytest.approx([0.01, 0.3], rel=0.1)


def test_a_leaf_without_a_past_is_drawn_to_the_others() -> None:
    rates = shrunk_rate(leaves([100, 100, 0], [1000, 1000, 0], [0, 0, 5], [1000, 1000, 10]))
    assert rates[2] == pytest.approx(0.1, rel=0.3)


def test_without_any_past_each_leaf_is_expected_to_be_like_the_whole_window() -> None:
    empty = leaves([0, 0], [0, 0], [30, 0], [100, 200])
    assert not has_past(empty)
    assert shrunk_rate(empty) == pytest.approx([0.1, 0.1])


def test_a_change_of_the_mix_is_expected_and_no_excess() -> None:
    """A tenant that always fails more and now sends more jobs fails as often as before (Simpson's paradox)."""
    mixed = leaves([10, 300], [1000, 1000], [1, 2700], [100, 9000])
    expected = shrunk_rate(mixed) * mixed.of_now
    assert np.sum(expected) == pytest.approx(2701, rel=0.05)
