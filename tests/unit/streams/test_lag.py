"""How far behind the events a tracker says it is."""

from types import SimpleNamespace
from typing import Any

from millstream.streams.lag import Behind, Lag, ReadPosition

NOW = 1_000_000.0


def record(partition: int, offset: int, written_at: float) -> Any:
    return SimpleNamespace(partition=partition, offset=offset, timestamp=written_at)


def test_a_tracker_that_has_applied_everything_is_level_though_markers_lie_behind() -> None:
    lag = Lag()
    lag.applied([record(0, 9, NOW - 500)])
    assert lag.measure({0: ReadPosition(fetched=12, end=12, last=9, committed=5)}, NOW) == Behind(0, 0.0)
    assert lag.measure({0: ReadPosition(fetched=12, end=12, last=None, committed=12)}, NOW) == Behind(0, 0.0)


def test_it_counts_what_is_not_read_and_what_is_read_and_not_applied() -> None:
    lag = Lag()
    lag.applied([record(0, 9, NOW - 500), record(1, 99, NOW - 3)])
    behind = lag.measure({0: ReadPosition(12, 1_010, 11, 5), 1: ReadPosition(120, 120, 119, 90)}, NOW)
    assert behind == Behind(1_000 + 20, 500.0)


def test_a_record_after_an_idle_hour_is_not_an_hour_behind() -> None:
    lag = Lag()
    lag.applied([record(0, 9, NOW - 3_600)])
    lag.measure({0: ReadPosition(10, 10, 9, 10)}, NOW - 2)
    assert lag.measure({0: ReadPosition(10, 11, 9, 10)}, NOW) == Behind(1, 2.0)


def test_before_the_first_event_it_counts_from_where_its_group_goes_on() -> None:
    lag = Lag()
    assert lag.measure({0: ReadPosition(40, 100, None, 40)}, NOW) == Behind(60, 0.0)
    assert lag.measure({0: ReadPosition(0, 100, None, None)}, NOW) == Behind(100, 0.0)


def test_what_it_does_not_know_it_does_not_say() -> None:
    assert Lag().measure({0: None, 1: ReadPosition(1, 1, None, 1)}, NOW) is None
    assert Lag().measure({}, NOW) == Behind(0, 0.0)


def test_a_topic_that_was_made_again_is_not_behind_by_what_was_read_of_the_former_one() -> None:
    lag = Lag()
    lag.applied([record(0, 9, NOW)])
    assert lag.measure({0: ReadPosition(fetched=3, end=3, last=5_000, committed=3)}, NOW) == Behind(0, 0.0)
