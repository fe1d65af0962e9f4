"""Screening: the dimensions and values that changed are kept, whatever else there is."""

from millstream.analytics.rca.attribution.leaves import Leaves
from millstream.analytics.rca.attribution.screening import MOST_DIMENSIONS, MOST_VALUES, screen


def marginal(name: str, values: int, bad_value: int | None = None) -> Leaves:
    """One dimension with equal values, one of which now fails."""
    bad_now = [500.0 if number == bad_value else 10.0 for number in range(values)]
    names = [f"{name}-{number}" for number in range(values)]
    return Leaves.of_columns({name: names}, [10.0] * values, [1000.0] * values, bad_now, [1000.0] * values)


def test_the_dimension_that_changed_comes_first_and_its_value_is_kept() -> None:
    found = screen([marginal("lane", 3), marginal("host", 40, bad_value=17)], drop=False)
    assert found[0].dimension == "host"
    assert "host-17" in [value for value, kept in zip(found[0].values, found[0].kept, strict=True) if kept]


def test_the_number_of_dimensions_and_of_values_is_bounded() -> None:
    found = screen([marginal(f"d{number}", 200, bad_value=number) for number in range(20)], drop=False)
    assert len(found) <= MOST_DIMENSIONS
    assert all(each.kept.sum() <= MOST_VALUES for each in found)
