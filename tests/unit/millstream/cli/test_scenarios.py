"""A scenario means what it says, or the error names what is wrong with it and what would be right."""

import pytest

from millstream.analytics.simulation.simulation import Scenario
from millstream.cli.scenarios import parsed, urgency

LANES = ("high", "default", "bulk")
USUAL = Scenario("usual", workers=1, concurrency=100, price_per_hour=0.5, partitions=4, urgency=("high",))


def test_a_scenario_changes_what_it_names_and_leaves_the_rest() -> None:
    assert parsed("workers=8, concurrency=10,price=0.192,high=2", USUAL, LANES) == Scenario(
        "workers=8, concurrency=10,price=0.192,high=2", 8, 10, 0.192, {"high": 2}, ("high",), 4
    )
    named = parsed("workers=3", USUAL, LANES)
    assert (named.workers, named.concurrency, named.price_per_hour, named.kept) == (3, 100, 0.5, {})
    assert parsed("price=0", USUAL, LANES).price_per_hour == 0


@pytest.mark.parametrize("key", ["workers", "concurrency", "high"])
@pytest.mark.parametrize("value", ["inf", "nan", "3.9", "0", "-1", "1e3", "1_000", "100001", "9" * 5000, "many", ""])
def test_a_count_is_a_whole_number_and_the_error_names_key_value_and_range(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}={value}: '{value}' is not a whole number from 1 to 100000$"):
        parsed(f"{key}={value}", USUAL, LANES)


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "cheap", ""])
def test_a_price_is_a_number_from_0_on(value: str) -> None:
    with pytest.raises(ValueError, match=f"^price={value}: '{value}' is not a number from 0 on"):
        parsed(f"workers=2,price={value}", USUAL, LANES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "concurency=20",
            "concurency=20: there is no 'concurency', only workers, concurrency, price and the lanes "
            "high, default, bulk; did you mean 'concurrency'?",
        ),
        ("workers=2,hihg=1", "hihg=1: there is no 'hihg', .*; did you mean 'high'"),
        ("nowhere=1", "nowhere=1: there is no 'nowhere', only .* high, default, bulk$"),
        ("workers=2,workers=3", "workers=3: workers is given twice; the first value was 2"),
        ("workers", "'workers' is not NAME=VALUE"),
        ("workers=2,", "'' is not NAME=VALUE"),
        ("workers=2,high=3", "3 workers are kept for lanes, of 2"),
    ],
)
def test_what_is_not_known_is_an_error_with_a_suggestion_where_one_is_near(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("'?", "'")):
        parsed(text, USUAL, LANES)


def test_urgent_lanes_are_lanes_that_there_are() -> None:
    assert urgency("high, bulk", LANES) == ("high", "bulk")
    assert urgency("", LANES) == ()
    with pytest.raises(ValueError, match=r"--urgent bluk: .* high, default, bulk; did you mean 'bulk'"):
        urgency("high,bluk", LANES)
