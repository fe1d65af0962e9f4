"""The records that tell of an execution: events, the next attempt's request, the dead letter."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Progress
from millstream.consumers.worker.execution.metering import MemoryGauge
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.scheduling.quotas import OVERFLOW
from millstream.schemas import (
    Action,
    Codec,
    Command,
    DeadLetter,
    DeadReason,
    DecodeError,
    EventBytes,
    EventKind,
    JobEvent,
    JobRequest,
    Record,
    Scope,
    TopicCatalogue,
    event_form,
    event_part,
)
from millstream.schemas.models import new_id

log = structlog.get_logger(__name__)

DEAD_LETTER_LIMIT = 2_000_000


class OutcomeRecords:
    """Turns what happened into records. Does no I/O; thread-safe."""

    def __init__(self, topics: TopicCatalogue, codec: Codec, config: WorkerConfig) -> None:
        self._topics = topics
        self._codec = codec
        self._memory = MemoryGauge()
        self._worker_id = config.worker_id
        place = {
            "worker_id": config.worker_id,
            "host": config.host,
            "region": config.region,
            "instance_type": config.instance_type,
            "worker_version": config.version,
        }
        events = EventBytes(codec, place)
        self._events_topic = topics.events
        self._header = events.header
        self._attempt_part = events.attempt_form(
            "attempt", "execution_id", "request_partition", "request_offset", "started_at", "wait_ms"
        )
        # Nearly all events are these two.
        self._started = event_form("occurred_at", kind=EventKind.STARTED)
        self._succeeded = event_form(
            "occurred_at", "run_ms", "cpu_ms", "max_rss_bytes", kind=EventKind.SUCCEEDED, final=True
        )

    def started(self, execution: Execution) -> OutgoingRecord:
        read, assignment, at = execution.read, execution.assignment, execution.started_us
        attempt_part = self._attempt_part(
            read.alike.attempt,
            execution.execution_id,
            assignment.partition,
            execution.offset,
            at,
            execution.wait_ms,
        )
        execution.event_start = self._header + read.job_part + attempt_part
        return OutgoingRecord(self._events_topic, read.key, execution.event_start + self._started(new_id(), at))

    def progress(self, fact: Progress) -> OutgoingRecord:
        return self._event(
            fact.execution, EventKind.PROGRESS, fact.occurred_at, progress=fact.fraction, message=fact.message[:1000]
        )

    def ended(self, execution: Execution) -> list[OutgoingRecord]:
        """The outcome, and what follows from it: another attempt, or a dead letter. With the end of the job an order to
        cancel it is taken back, so that such orders do not heap up."""
        records = self._ended(execution)
        if execution.ordered_off and not self._has_another_attempt(execution):
            order = Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=execution.job_id)
            records.append(OutgoingRecord(self._topics.commands, order.key, None, execution.assignment))
        return records

    def _ended(self, execution: Execution) -> list[OutgoingRecord]:
        outcome, at = execution.outcome, execution.finished_us
        assert outcome
        rss_bytes = execution.rss_bytes or self._memory.rss_bytes
        if outcome is SUCCEEDED:
            told = self._succeeded(new_id(), at, execution.run_ms, execution.cpu_ms, rss_bytes)
            value = execution.event_start + told
            return [OutgoingRecord(self._events_topic, execution.read.key, value, execution.assignment)]
        request = execution.read.request
        again = self._has_another_attempt(execution)
        records = [
            self._event(
                execution,
                outcome.kind,
                at,
                final=not again,
                run_ms=execution.run_ms,
                cpu_ms=execution.cpu_ms,
                max_rss_bytes=rss_bytes,
                **outcome.error,
            )
        ]
        if again:
            # Before the request: should that fit nowhere, the job's end comes behind this.
            records.append(self._event(execution, EventKind.RETRY_SCHEDULED, at, due_at=at))
            retry = request.model_copy(update={"attempt": request.attempt + 1})
            records.append(
                OutgoingRecord(
                    # Not to where the request says: that may be a lane that there is not.
                    self._topics.lane(execution.lane.removesuffix(OVERFLOW)),
                    request.record_key,
                    self._codec.encode(retry),
                    execution.assignment,
                )
            )
        elif outcome.kind in _RETRIED:
            records.append(self._dead_letter(execution))
            records.append(self._event(execution, EventKind.DEAD_LETTERED, at, **outcome.error))
        return records

    def _has_another_attempt(self, execution: Execution) -> bool:
        outcome = execution.outcome
        assert outcome
        if outcome.kind not in _RETRIED or not outcome.retryable:
            return False
        request = execution.read.request
        return request.attempt < request.max_attempts

    def unreadable(
        self, assignment: Assignment, offset: int, key: bytes | None, value: bytes | None, error: DecodeError
    ) -> OutgoingRecord:
        """The dead letter of a record that is no request at all."""
        cause = {"error_type": "DecodeError", "error_message": str(error)[:2000]}
        return self._letter(DeadReason.UNREADABLE, cause, assignment, offset, key, value)

    def instead_of(self, record: OutgoingRecord) -> list[OutgoingRecord]:
        """What to write instead of a record that the broker refused for its size: the record without what may be long,
        or, of a request, that its job is given up."""
        log.error("a record is too large for its topic", topic=record.topic, bytes=record.size)
        if record.topic == self._topics.dead:
            letter = self._codec.decode(record.value, DeadLetter)
            where = f"{letter.topic}[{letter.partition}]@{letter.offset}"
            note = f"{letter.error_message[:200]} (shortened; the record is at {where})"
            less: Record = letter.model_copy(update={"record_value": None, "stack": "", "error_message": note})
        elif record.topic == self._events_topic:
            event = self._codec.decode(record.value, JobEvent)
            less = event.model_copy(update={"stack": "", "labels": {}, "error_message": event.error_message[:200]})
        else:
            return self._given_up(record)
        return [record._replace(value=self._codec.encode(less))]

    def _given_up(self, record: OutgoingRecord) -> list[OutgoingRecord]:
        """The dead letter and the end of a job whose next request does not fit: another attempt, or one moved aside."""
        request, read_from = self._codec.decode(record.value, JobRequest), record.assignment
        assert read_from is not None
        cause = {
            "error_type": "RequestTooLarge",
            "error_message": f"its request of {record.size:,} bytes is more than {record.topic} takes",
        }
        letter = self._letter(DeadReason.TOO_LARGE, cause, read_from, -1, record.key, record.value, request)
        shared = request.model_dump(include=set(JobEvent.model_fields))
        told = [
            JobEvent(**shared, **cause, kind=kind, final=kind is EventKind.FAILED, worker_id=self._worker_id)
            for kind in (EventKind.FAILED, EventKind.DEAD_LETTERED)
        ]
        key = request.job_id.encode()
        return [
            letter,
            *(OutgoingRecord(self._events_topic, key, self._codec.encode(event), read_from) for event in told),
        ]

    def _dead_letter(self, execution: Execution) -> OutgoingRecord:
        request, outcome = execution.read.request, execution.outcome
        assert outcome
        return self._letter(
            outcome.reason,
            outcome.error,
            execution.assignment,
            execution.offset,
            request.record_key,
            execution.value,
            request,
        )

    def _letter(
        self,
        reason: DeadReason,
        cause: Mapping[str, str],
        read_from: Assignment,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        request: JobRequest | None = None,
    ) -> OutgoingRecord:
        """The dead letter of a record with this key and value. It has the key of the job's events, where there is a
        job."""
        job = request.model_dump(include={"job_id", "tenant", "job_type", "attempt"}) if request else {}
        letter = DeadLetter.model_validate(
            {
                **cause,
                **job,
                "reason": reason,
                "worker_id": self._worker_id,
                "topic": read_from.topic,
                "partition": read_from.partition,
                "offset": offset,
                "record_key": key,
                "record_value": value,
            }
        )
        letter_key = request.job_id.encode() if request else key
        return OutgoingRecord(self._topics.dead, letter_key, self._codec.encode(_shortened(letter)), read_from)

    def _event(
        self, execution: Execution, kind: EventKind, occurred_at: datetime | int, **fields: Any
    ) -> OutgoingRecord:
        value = execution.event_start + event_part(kind, occurred_at, **fields)
        assignment = None if kind in _ANY_TIME else execution.assignment
        return OutgoingRecord(self._events_topic, execution.read.key, value, assignment)


_ANY_TIME = (EventKind.STARTED, EventKind.PROGRESS)
_RETRIED = (EventKind.FAILED, EventKind.TIMED_OUT)


def _shortened(letter: DeadLetter) -> DeadLetter:
    """The letter without the record's value when both together are more than a broker takes."""
    if letter.record_value is None or len(letter.record_value) + len(letter.stack) < DEAD_LETTER_LIMIT:
        return letter
    where = f"{letter.topic}[{letter.partition}]@{letter.offset}"
    note = f"{letter.error_message} (value of {len(letter.record_value):,} bytes left out, it is at {where})"
    return letter.model_copy(update={"record_value": None, "error_message": note})
