"""Outcomes that are kept: bounded, tried again with growing waits, dropped with their partition."""

import pytest

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.outcomes.parked_outcomes import MOST_PARKED, MOST_PARKED_BYTES, ParkedOutcomes

HERE = Assignment("jobs.default", 0, "default")


def records(offset: int, size: int = 10, assignment: Assignment = HERE) -> list[OutgoingRecord]:
    return [OutgoingRecord("dead", b"key", b"x" * size, assignment, offset)]


def test_what_was_refused_by_itself_is_tried_again_after_5_10_20_40_60_60_s() -> None:
    parked, now, waits = ParkedOutcomes(), 0.0, []
    for _ in range(6):
        parked.park((HERE, 1), records(1), now)
        before = now
        while not parked.due(now):
            now += 1
        waits.append(now - before)
    assert waits == [5, 10, 20, 40, 60, 60]
    parked.forget_written(records(1))
    parked.park((HERE, 1), records(1), now)
    assert parked.due(now + 5) == records(1)


def test_what_waits_for_a_topic_is_released_with_it_and_not_before() -> None:
    parked = ParkedOutcomes()
    parked.park((HERE, 1), records(1), 0, "dead")
    parked.park((HERE, 2), records(2), 0, "other")
    assert parked.due(1e9) == []
    assert parked.by_topic == {"dead": 1, "other": 1}
    assert parked.release("dead") == [records(1)]
    assert len(parked) == 1


@pytest.mark.parametrize(("count", "size"), [(MOST_PARKED, 1), (1, MOST_PARKED_BYTES)])
def test_the_worker_takes_no_more_when_too_much_is_parked(count: int, size: int) -> None:
    parked = ParkedOutcomes()
    for offset in range(count):
        assert not parked.full
        parked.park((HERE, offset), records(offset, size), 0, "dead")
    assert parked.full
    parked.release("dead")
    assert not parked.full


def test_a_released_partition_drops_what_is_parked_of_it() -> None:
    gone, parked = Assignment("jobs.high", 0, "high"), ParkedOutcomes()
    parked.park((gone, 1), records(1, assignment=gone), 0)
    parked.park((HERE, 1), records(1), 0)
    gone.release()
    parked.drop_released()
    assert len(parked) == 1
    assert parked.due(5) == records(1)
