"""The commit loop: an outcome and its offset in one transaction, and nothing of a partition that was released."""

import pytest
from confluent_kafka import KafkaError

from millstream.consumers.kafka.transaction import TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch
from millstream.consumers.worker import commit_loop
from millstream.consumers.worker.commit_loop import MOST_RECORDS
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Finished
from millstream.consumers.worker.execution.outcome import failed
from millstream.consumers.worker.outcomes import parked_outcomes
from tests.unit.consumers.worker.conftest import Parts

DEAD, EVENTS = "jobs.dead", "jobs.events"


def fail(parts: Parts, execution: Execution) -> None:
    execution.end(failed(ValueError("bad")))
    parts.facts.append(Finished(execution))


def missing(parts: Parts, topic: str) -> None:
    """From here on `topic` does not exist."""
    parts.access.unwritable[topic] = "unknown topic"

    def refuses(batch: TransactionBatch) -> Exception | None:
        if topic not in parts.access.unwritable or topic not in {each.topic for each in batch.records}:
            return None
        code = KafkaError.UNKNOWN_TOPIC_OR_PART
        return TransactionAborted("unknown topic", code, unwritable={topic: "unknown topic"})

    parts.transactions.refuses = refuses


def finished_topics(parts: Parts, execution: Execution) -> list[str]:
    """The topics of the written records of an execution's outcome."""
    records = [each for batch in parts.transactions.written for each in batch.records]
    return [each.topic for each in records if each.assignment and each.offset == execution.offset]


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
    assert parts.committed() == {}
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


def test_a_missing_topic_costs_the_jobs_that_need_it_their_outcomes_and_no_others(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_loop, "ASK_INTERVAL_S", 0.0)
    parts.assign(0)
    bad, good, later = parts.take_requests(3)
    missing(parts, DEAD)
    for execution in (bad, good):
        parts.start(execution)
    fail(parts, bad)
    parts.succeed(good)
    parts.commit_loop.write_all()
    parts.commit_loop.write_all()
    assert finished_topics(parts, good) == [EVENTS]
    assert finished_topics(parts, bad) == [], "outcome, dead letter and offset of a job stay together"
    assert parts.commits() == {0: 0}
    attempts = len(parts.transactions.attempted)
    parts.start(later)
    parts.succeed(later)
    parts.commit_loop.write_all()
    assert len(parts.transactions.attempted) == attempts + 1, "the topic is not tried with each transaction"
    parts.commit_loop.run_once()
    assert parts.status.writing.problems() == [
        "jobs.dead cannot be written: unknown topic",
        "1 outcomes cannot be written now and are kept",
    ]
    parts.access.unwritable.clear()
    for _ in range(4):
        parts.commit_loop.run_once()
    assert sorted(finished_topics(parts, bad)) == [DEAD, EVENTS, EVENTS]
    assert parts.committed() == {0: 3}
    assert parts.status.writing.problems() == []


def test_while_the_topic_of_all_outcomes_is_missing_nothing_is_tried_or_taken_and_it_is_said_once(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commit_loop, "ASK_INTERVAL_S", 0.0)
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    missing(parts, EVENTS)
    parts.start(execution)
    parts.succeed(execution)
    for _ in range(20):
        parts.commit_loop.run_once()
    assert parts.transactions.attempted == [2]
    assert parts.commit_loop.is_behind
    assert capsys.readouterr().out.count("topic_unwritable") == 1
    parts.access.unwritable.clear()
    for _ in range(4):
        parts.commit_loop.run_once()
    assert parts.committed() == {0: 1}
    assert not parts.commit_loop.is_behind


def test_one_record_among_many_that_is_never_accepted_is_found_and_all_others_are_written(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    executions = parts.take_requests(50)
    poison = executions[31]

    def refuses(batch: TransactionBatch) -> Exception | None:
        held = any(each.offset == poison.offset and each.assignment for each in batch.records)
        return TransactionAborted("invalid record", KafkaError.INVALID_RECORD) if held else None

    parts.transactions.refuses = refuses
    for execution in executions:
        parts.start(execution)
        parts.succeed(execution)
    for _ in range(60):
        parts.commit_loop.run_once()
    assert [each.offset for each in executions if not finished_topics(parts, each)] == [poison.offset]
    assert parts.committed() == {0: poison.offset}
    assert parts.metrics.aborted < 20
    parts.transactions.refuses = lambda batch: None
    monkeypatch.setattr(parked_outcomes, "FIRST_RETRY_S", 0.0)
    parts.unwritten.parked._parked.update(
        {
            place: parked_outcomes._Parked(each.records, each.topic, 0.0)
            for place, each in parts.unwritten.parked._parked.items()
        }
    )
    for _ in range(3):
        parts.commit_loop.run_once()
    assert parts.committed() == {0: 50}


def test_a_parked_outcome_is_dropped_with_its_partition(parts: Parts) -> None:
    parts.assign(0)
    (bad,) = parts.take_requests(1)
    missing(parts, DEAD)
    parts.start(bad)
    fail(parts, bad)
    parts.commit_loop.write_all()
    parts.commit_loop.write_all()
    assert len(parts.unwritten.parked) == 1
    parts.handover.on_revoke(parts.member, [parts.consumer_partition(0)])
    parts.access.unwritable.clear()
    parts.unwritten.write_again({DEAD})
    parts.commit_loop.write_all()
    assert finished_topics(parts, bad) == []
    assert parts.commit_loop.empty


def test_an_event_that_is_no_outcome_and_is_never_accepted_is_dropped(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    invalid = TransactionAborted("invalid record", KafkaError.INVALID_RECORD)
    parts.transactions.refuses = lambda batch: invalid if any(not each.assignment for each in batch.records) else None
    parts.start(execution)
    parts.succeed(execution)
    for _ in range(10):
        parts.commit_loop.run_once()
    assert finished_topics(parts, execution) == [EVENTS]
    assert "event_dropped" in capsys.readouterr().out


def test_the_clock_of_a_host_that_is_wrong_stops_the_worker_and_runs_nothing_again(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.transactions.refuses = lambda batch: TransactionAborted("timestamp", KafkaError.INVALID_TIMESTAMP)
    parts.start(execution)
    parts.succeed(execution)
    parts.commit_loop.run_once()
    parts.commit_loop.run_once()
    assert parts.commit_loop.is_behind
    assert "clock" in parts.status.writing.problems()[0]


def test_records_that_would_exceed_the_bytes_of_a_transaction_go_into_the_next_one(parts: Parts) -> None:
    parts.assign(0)
    executions = parts.take_requests(10)
    parts.unwritten._limit.bytes = 600
    for execution in executions:
        parts.start(execution)
        parts.succeed(execution)
    assert parts.commit_loop.write_all()
    assert len(parts.transactions.written) > 1
    assert parts.committed() == {0: 10}


def test_nothing_committed_for_ten_seconds_while_something_waits_is_not_ready(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.transactions.hangs = True
    parts.start(execution)
    parts.commit_loop.run_once()
    assert parts.status.writing.problems() == []
    writing = parts.status.writing
    assert writing._waiting_since is not None
    writing._waiting_since -= 11
    parts.access.away = True
    parts.commit_loop.run_once()
    parts.commit_loop.run_once()
    assert writing.problems() == ["nothing was committed for 11 s while outcomes wait; no broker answers"]
    parts.transactions.hangs = False
    parts.commit_loop.run_once()
    assert writing.problems() == []
