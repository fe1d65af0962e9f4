"""What one transaction holds: whole offsets, in order, and nothing of them in the commit that is not in it."""

import pytest

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.outcomes.outgoing_batch import OutgoingBatch


@pytest.fixture
def assignment() -> Assignment:
    return Assignment("jobs.default", 0, "default")


def outcome(assignment: Assignment, offset: int, records: int = 2, size: int = 10) -> list[OutgoingRecord]:
    """The records of an offset, which is taken and finished."""
    assignment.ledger.take(offset)
    assignment.finish(offset)
    return [OutgoingRecord("events", None, b"x" * size, assignment, offset) for _ in range(records)]


def committed(assignment: Assignment) -> int | None:
    checkpoint = assignment.ledger.checkpoint()
    return checkpoint.offset if checkpoint else None


def test_records_of_one_offset_are_never_divided(assignment: Assignment) -> None:
    batch = OutgoingBatch()
    for offset in range(4):
        batch.extend(outcome(assignment, offset))
    taken = batch.take(3, 10**6)
    assert [each.offset for each in taken] == [0, 0, 1, 1]
    assert committed(assignment) == 2, "the commit of this transaction holds no offset that is left out"
    assert [each.offset for each in batch.take(10, 10**6)] == [2, 2, 3, 3]
    assert committed(assignment) == 4


def test_a_transaction_holds_at_most_so_many_bytes_but_one_offset_always(assignment: Assignment) -> None:
    batch = OutgoingBatch()
    for offset in range(3):
        batch.extend(outcome(assignment, offset, records=1, size=100))
    assert [each.offset for each in batch.take(10, 250)] == [0, 1]
    assert [each.offset for each in batch.take(10, 5)] == [2]
    assert batch.bytes == 0


def test_an_aborted_transaction_can_be_written_in_parts(assignment: Assignment) -> None:
    batch = OutgoingBatch()
    for offset in range(4):
        batch.extend(outcome(assignment, offset))
    taken = batch.take(100, 10**6)
    assert committed(assignment) == 4
    batch.put_back(taken)
    assert [each.offset for each in batch.take(2, 10**6)] == [0, 0]
    assert committed(assignment) == 1


def test_what_is_removed_is_in_no_commit(assignment: Assignment) -> None:
    batch = OutgoingBatch()
    letter = outcome(assignment, 0)
    letter[1] = letter[1]._replace(topic="dead")
    batch.extend(letter)
    batch.extend(outcome(assignment, 1))
    removed = batch.remove(lambda each: each.topic == "dead")
    assert removed == {(assignment, 0): letter}
    assert [each.offset for each in batch.take(10, 10**6)] == [1, 1]
    assert committed(assignment) == 0
    batch.put_first(letter)
    batch.take(10, 10**6)
    assert committed(assignment) == 2


def test_what_belongs_to_a_released_partition_is_dropped_and_what_is_suspended_waits(assignment: Assignment) -> None:
    gone = Assignment("jobs.high", 0, "high")
    batch = OutgoingBatch()
    batch.extend(outcome(gone, 0))
    batch.extend(outcome(assignment, 0))
    gone.release()
    assignment.suspend()
    assert batch.take(10, 10**6) == []
    assert len(batch) == 2
    assignment.resume(rebalance=2)
    assert {each.assignment for each in batch.take(10, 10**6)} == {assignment}
    assert committed(assignment) == 1
