"""One way to write a figure in every answer."""

from datetime import UTC, datetime

import pytest

from millstream.analytics.rca import UnknownMetric
from millstream.pages.format import amount, bar, duration, rate, window_text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.0 ms"),
        (3.24, "3.2 ms"),
        (850.4, "850 ms"),
        (12_540, "12.5 s"),
        (119_999, "120.0 s"),
        (204_000, "3.4 min"),
        (7_199_000, "120.0 min"),
        (90_000_000, "25.0 h"),
    ],
)
def test_a_duration_has_the_unit_that_suits_its_size(ms: float, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("count", "seconds", "text"),
    [
        (120_000, 10, "12,000 a second"),
        (1_005, 1_000, "1 a second"),
        (1_005, 3_600, "16.8 a minute"),
        (7, 3_600, "7 an hour"),
        (0, 60, "0 an hour"),
    ],
)
def test_a_rate_has_the_unit_in_which_it_is_not_nothing(count: int, seconds: int, text: str) -> None:
    assert rate(count, seconds) == text


def test_an_amount_has_the_unit_of_its_metric() -> None:
    assert amount("failure_rate", 0.125) == "12.5%"
    assert amount("queue_wait", 1500) == "1.5 s"
    assert amount("submissions", 1234.5) == "1,234 a step"
    with pytest.raises(UnknownMetric, match="unknown metric 'arrivals'; known are failure_rate, "):
        amount("arrivals", 1)


@pytest.mark.parametrize(("share", "drawn"), [(-1, ""), (0, ""), (0.5, "██"), (0.53125, "██▏"), (2, "████")])
def test_a_bar_is_exact_to_an_eighth_of_a_character(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


def test_a_window_repeats_the_date_only_where_it_differs() -> None:
    start = datetime(2026, 11, 24, 22, tzinfo=UTC)
    assert window_text(start, start.replace(hour=23)) == "2026-11-24 22:00:00 to 23:00:00 UTC"
    assert window_text(start, start.replace(day=25, hour=1)) == "2026-11-24 22:00:00 to 2026-11-25 01:00:00 UTC"
