"""Standard errors between two rates: far for a real difference, near for chance, zero without data."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.analytics.rca.questions.rates import SURE, Rate, standard_errors


def test_a_real_difference_is_sure_and_a_small_sample_is_not() -> None:
    assert standard_errors(Rate(10, 1000), Rate(100, 1000)) > SURE
    assert standard_errors(Rate(100, 1000), Rate(10, 1000)) < -SURE
    assert abs(standard_errors(Rate(0, 3), Rate(1, 3))) < SURE


def test_without_data_on_either_side_there_is_no_difference() -> None:
    assert standard_errors(Rate(0, 0), Rate(5, 10)) == standard_errors(Rate(5, 10), Rate(0, 0)) == 0
    assert Rate(0, 0).share == 0


counts = st.tuples(st.integers(0, 500), st.integers(1, 500)).map(lambda pair: Rate(min(pair), max(pair)))


@given(counts, counts)
def test_exchanging_the_sides_changes_the_sign_only(before: Rate, after: Rate) -> None:
    assert abs(standard_errors(before, after) + standard_errors(after, before)) < 1e-9
