"""The commit loop: an outcome and its offset in one transaction, and nothing of a partition that was released."""

from millstream.consumers.worker.commit_loop import MOST_RECORDS
from tests.unit.consumers.worker.conftest import Parts


def test_an_outcome_and_the_offset_of_its_request_go_into_one_transaction(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.succeed(execution)
    parts.commit_loop.write_all()
    (batch,) = parts.transactions.written
    assert [each.topic for each in batch.records] == ["jobs.events", "jobs.events"]
    assert [offset.offset for commit in batch.commits for offset in commit.offsets] == [1]


def test_a_start_is_visible_before_its_outcome_and_moves_no_offset(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.commit_loop.write_all()
    assert parts.written() == [("jobs.events", False)]
    assert parts.committed() == {}


def test_the_committed_offset_stops_below_what_has_not_finished(parts: Parts) -> None:
    parts.assign(0)
    first, second, third = parts.take_requests(3)
    for execution in (second, third):
        parts.start(execution)
        parts.succeed(execution)
    parts.commit_loop.write_all()
    assert parts.committed() == {0: 0}
    parts.start(first)
    parts.succeed(first)
    parts.commit_loop.write_all()
    assert parts.committed() == {0: 3}


def test_an_aborted_transaction_is_written_again_whole_and_before_what_followed(parts: Parts) -> None:
    parts.transactions.aborts = 1
    parts.assign(0)
    first, second = parts.take_requests(2)
    parts.start(first)
    parts.succeed(first)
    parts.commit_loop.write_all()
    assert parts.committed() == {} and parts.metrics.aborted == 1
    parts.start(second)
    parts.succeed(second)
    parts.commit_loop.write_all()
    (batch,) = parts.transactions.written
    assert [each.key for each in batch.records] == [first.read.key] * 2 + [second.read.key] * 2
    assert parts.committed() == {0: 2}


def test_an_outcome_of_a_released_partition_is_not_written(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.commit_loop.collect()
    execution.assignment.release()
    parts.succeed(execution)
    parts.commit_loop.write_all()
    assert parts.written() == [("jobs.events", False)], "the start was visible anyway; the outcome is the next owner's"
    assert parts.committed() == {}


def test_what_waits_to_be_written_is_bounded(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    execution.begin()
    for _ in range(MOST_RECORDS + 10):
        parts.start(execution)
    parts.commit_loop.collect()
    assert parts.commit_loop.is_behind
    assert len(parts.facts) == 10, "the rest waits in the executor's facts"
    parts.commit_loop.write_all()
    assert not parts.commit_loop.is_behind


def test_the_loop_is_empty_once_everything_is_written(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    assert not parts.commit_loop.empty
    parts.commit_loop.write_all()
    assert parts.commit_loop.empty
