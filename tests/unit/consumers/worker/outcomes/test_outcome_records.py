"""The records of an execution, made from facts by hand."""

from datetime import UTC, datetime

import pytest

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker import WorkerConfig
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Progress
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.redaction import Redaction
from millstream.schemas import (
    Codec,
    DeadLetter,
    DeadReason,
    DecodeError,
    EventKind,
    JobEvent,
    JobRequest,
    RequestReader,
    TopicCatalogue,
)

CODEC = Codec()
TOPICS = TopicCatalogue(prefix="")


@pytest.fixture
def records() -> OutcomeRecords:
    return OutcomeRecords(TOPICS, CODEC, WorkerConfig(worker_id="w", region="eu", version="v2"))


def started(records: OutcomeRecords, lane: str = "default", **fields: object) -> Execution:
    """An execution whose `started` event is made, as the poll thread does before any other."""
    request = JobRequest.model_validate({"tenant": "acme", "job_type": "mail", "payload": b"{}", **fields})
    value = CODEC.encode(request)
    topic = TOPICS.overflow("default") if lane.endswith("overflow") else TOPICS.lane("default")
    execution = Execution(Assignment(topic, 3, lane), 41, value, RequestReader(CODEC).read(value))
    execution.begin()
    records.started(execution)
    return execution


def ended(records: OutcomeRecords, execution: Execution, how: Outcome) -> list[OutgoingRecord]:
    execution.end(how)
    return records.ended(execution)


def events(written: list[OutgoingRecord]) -> list[JobEvent]:
    return [CODEC.decode(each.value, JobEvent) for each in written if each.topic == TOPICS.events]


def test_a_start_says_where_it_runs_and_may_be_written_at_any_time(records: OutcomeRecords) -> None:
    execution = started(records)
    record = records.started(execution)
    event = CODEC.decode(record.value, JobEvent)
    assert record.assignment is None
    assert (event.kind, event.worker_id, event.region, event.worker_version) == (EventKind.STARTED, "w", "eu", "v2")
    assert (event.request_partition, event.request_offset, event.execution_id) == (3, 41, execution.execution_id)


def test_progress_carries_fraction_and_message(records: OutcomeRecords) -> None:
    execution = started(records)
    record = records.progress(Progress(execution, datetime.now(UTC), 0.5, "half"))
    event = CODEC.decode(record.value, JobEvent)
    assert (event.kind, event.progress, event.message) == (EventKind.PROGRESS, 0.5, "half")
    assert record.assignment is None


def test_a_success_is_one_final_event_that_goes_with_the_offset(records: OutcomeRecords) -> None:
    execution = started(records)
    written = ended(records, execution, SUCCEEDED)
    (event,) = events(written)
    assert (event.kind, event.final, len(written)) == (EventKind.SUCCEEDED, True, 1)
    assert written[0].assignment is execution.assignment
    assert event.execution_id == execution.execution_id and event.run_ms is not None


def test_a_failure_with_attempts_left_is_followed_by_the_next_attempt_in_its_lane(records: OutcomeRecords) -> None:
    execution = started(records, max_attempts=3, ordering_key="k")
    written = ended(records, execution, outcome.failed(ValueError("no")))
    assert [(each.kind, each.final) for each in events(written)] == [
        (EventKind.FAILED, False),
        (EventKind.RETRY_SCHEDULED, False),
    ]
    (request,) = [each for each in written if each.topic == TOPICS.lane("default")]
    again = CODEC.decode(request.value, JobRequest)
    assert (again.attempt, again.job_id, request.key) == (2, execution.job_id, again.record_key)
    assert all(each.assignment is execution.assignment for each in written)


def test_an_attempt_from_the_overflow_topic_is_retried_in_its_lane(records: OutcomeRecords) -> None:
    execution = started(records, lane="default.overflow", max_attempts=2)
    written = ended(records, execution, outcome.failed(ValueError("no")))
    assert TOPICS.lane("default") in [each.topic for each in written]


def test_the_last_failure_becomes_a_dead_letter_with_the_request_and_the_complete_cause(
    records: OutcomeRecords,
) -> None:
    execution = started(records, attempt=3, max_attempts=3)
    written = ended(records, execution, outcome.failed(ValueError("the reason")))
    assert [(each.kind, each.final) for each in events(written)] == [
        (EventKind.FAILED, True),
        (EventKind.DEAD_LETTERED, False),
    ]
    (record,) = [each for each in written if each.topic == TOPICS.dead]
    letter = CODEC.decode(record.value, DeadLetter)
    assert (letter.job_id, letter.tenant, letter.attempt) == (execution.job_id, "acme", 3)
    assert (letter.error_type, letter.error_message, letter.reason) == ("ValueError", "the reason", DeadReason.FAILED)
    assert (letter.topic, letter.partition, letter.offset) == (TOPICS.lane("default"), 3, 41)
    assert letter.record_value == execution.value


def test_a_job_that_no_attempt_can_run_is_given_up_although_attempts_are_left(records: OutcomeRecords) -> None:
    execution = started(records, max_attempts=5)
    written = ended(records, execution, outcome.rejected(DeadReason.INVALID_PAYLOAD, ValueError("not a number")))
    (record,) = [each for each in written if each.topic == TOPICS.dead]
    assert CODEC.decode(record.value, DeadLetter).reason is DeadReason.INVALID_PAYLOAD


def test_a_cancelled_job_ends_without_another_attempt_or_a_dead_letter(records: OutcomeRecords) -> None:
    execution = started(records, max_attempts=5)
    (event,) = events(written := ended(records, execution, outcome.cancelled("not needed")))
    assert (event.kind, event.final, len(written)) == (EventKind.CANCELLED, True, 1)


@pytest.mark.parametrize(("attempts", "tombstones"), [(1, 1), (2, 0)])
def test_an_active_cancel_command_is_tombstoned_when_the_job_ends_and_not_before(
    records: OutcomeRecords, attempts: int, tombstones: int
) -> None:
    execution = started(records, max_attempts=attempts)
    execution.cancel_command_active = True
    written = ended(records, execution, outcome.failed(ValueError("no")))
    found = [each for each in written if each.topic == TOPICS.commands]
    assert len(found) == tombstones
    assert all(each.value is None and execution.job_id.encode() in (each.key or b"") for each in found)


def test_a_record_that_is_no_request_keeps_its_key_and_value_in_the_dead_letter(records: OutcomeRecords) -> None:
    assignment = Assignment(TOPICS.lane("bulk"), 1, "bulk")
    record = records.unreadable(assignment, 9, b"key", b"\xff\xfe", DecodeError("no magic byte"))
    letter = CODEC.decode(record.value, DeadLetter)
    assert (letter.reason, letter.record_key, letter.record_value) == (DeadReason.UNREADABLE, b"key", b"\xff\xfe")
    assert (letter.job_id, record.key, record.assignment) == ("", b"key", assignment)


def test_what_is_redacted_is_in_no_event_and_no_dead_letter_but_the_record_stays_as_it_was() -> None:
    redaction = Redaction(fields=["card"], patterns=["sk_[a-z]+"])
    records = OutcomeRecords(TOPICS, CODEC, WorkerConfig(worker_id="w"), redaction=redaction)
    execution = started(records, payload=b'{"card": 4111}')
    try:
        raise ValueError("cannot pay: card=4111 with sk_live")
    except ValueError as error:
        written = ended(records, execution, outcome.redacted(outcome.failed(error), redaction))
    letter = next(CODEC.decode(each.value, DeadLetter) for each in written if each.topic == TOPICS.dead)
    for each in events(written):
        assert "4111" not in each.model_dump_json() and "sk_live" not in each.model_dump_json()
    assert "4111" not in letter.error_message + letter.stack
    assert letter.error_message == "cannot pay: card=[redacted] with [redacted]"
    assert letter.record_value == execution.value
    unreadable = records.unreadable(execution.assignment, 1, None, b"x", DecodeError("card=4111"))
    assert CODEC.decode(unreadable.value, DeadLetter).error_message == "card=[redacted]"
