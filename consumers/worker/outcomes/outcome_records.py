"""The records of an execution: its events, the next attempt's request, the dead letter, the end of a cancel command."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from millstream.consumers.dead_letters import dead_letter
from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Progress
from millstream.consumers.worker.execution.metering import MemoryGauge
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.outcomes.retries import RetryPolicy
from millstream.redaction import Redaction
from millstream.schemas import (
    Action,
    Codec,
    Command,
    DeadReason,
    DecodeError,
    EventBytes,
    EventKind,
    JobRequest,
    Scope,
    TopicCatalogue,
    event_encoder,
    event_part,
)
from millstream.schemas.ids import new_id
from millstream.schemas.topics import OVERFLOW_SUFFIX

UNREADABLE_LIMIT = 65_536
"""Bytes of a record that is no request in its dead letter."""

_ANY_TIME = (EventKind.STARTED, EventKind.PROGRESS)
"""Events that are no outcome: they may be written whether or not the partition is still held."""


class OutcomeRecords:
    """Turns facts into records. Does no I/O; used by the poll thread. `redaction` is applied to what a record that is
    no request is said to be; the texts of outcomes come without what is not to be written."""

    def __init__(
        self,
        topics: TopicCatalogue,
        codec: Codec,
        config: WorkerConfig,
        retries: RetryPolicy | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        self._topics = topics
        self._codec = codec
        self._retries = retries or RetryPolicy()
        self._redact = redaction or Redaction()
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
        self._attempt_part = events.attempt_encoder(
            "attempt", "execution_id", "request_partition", "request_offset", "started_at", "wait_ms"
        )
        # Nearly all events are these two.
        self._started = event_encoder("occurred_at", kind=EventKind.STARTED)
        self._succeeded = event_encoder(
            "occurred_at", "run_ms", "cpu_ms", "max_rss_bytes", kind=EventKind.SUCCEEDED, final=True
        )

    def started(self, execution: Execution) -> OutgoingRecord:
        """The `started` event. Also prepares the bytes with which the execution's later events begin."""
        read, assignment, at = execution.read, execution.assignment, execution.started_us
        attempt_part = self._attempt_part(
            read.shared.attempt,
            execution.execution_id,
            assignment.partition,
            execution.offset,
            at,
            execution.wait_ms,
        )
        execution.event_start = self._header + read.job_part + attempt_part
        return OutgoingRecord(self._events_topic, read.key, execution.event_start + self._started(new_id(), at))

    def progress(self, fact: Progress) -> OutgoingRecord:
        """The `progress` event."""
        return self._event(
            fact.execution, EventKind.PROGRESS, fact.occurred_at, progress=fact.fraction, message=fact.message
        )

    def ended(self, execution: Execution) -> list[OutgoingRecord]:
        """The outcome, and what follows from it: another attempt, or a dead letter. When the job ends, a command to
        cancel it is tombstoned, so that the compacted topic does not grow."""
        outcome, request = execution.outcome, execution.read
        assert outcome
        if outcome is SUCCEEDED:
            records = [self._success(execution)]
            again = False
        else:
            again = self._retries.next_delay_s(outcome, request.request) is not None
            records = self._not_succeeded(execution, again)
        if execution.cancel_command_active and not again:
            command = Command(action=Action.CANCEL_JOB, scope=Scope.JOB, target=execution.job_id)
            records.append(
                OutgoingRecord(self._topics.commands, command.key, None, execution.assignment, execution.offset)
            )
        return records

    def unreadable(
        self, assignment: Assignment, offset: int, key: bytes | None, value: bytes | None, error: DecodeError
    ) -> OutgoingRecord:
        """The dead letter of a record that is not a request. It can never be run again, so of a large one only its
        place is kept: anybody may write many of them."""
        message = self._redact(str(error))
        if len(value or b"") > UNREADABLE_LIMIT:
            message, value = f"{message} (value of {len(value or b''):,} bytes left out)", None
        cause = {"error_type": "DecodeError", "error_message": message}
        return self._letter(DeadReason.UNREADABLE, cause, assignment, offset, key, value)

    def _success(self, execution: Execution) -> OutgoingRecord:
        rss_bytes = execution.rss_bytes or self._memory.rss_bytes
        event = self._succeeded(new_id(), execution.finished_us, execution.run_ms, execution.cpu_ms, rss_bytes)
        return OutgoingRecord(
            self._events_topic,
            execution.read.key,
            execution.event_start + event,
            execution.assignment,
            execution.offset,
        )

    def _not_succeeded(self, execution: Execution, again: bool) -> list[OutgoingRecord]:
        outcome, request, at = execution.outcome, execution.read.request, execution.finished_us
        assert outcome
        records = [
            self._event(
                execution,
                outcome.kind,
                at,
                final=not again,
                run_ms=execution.run_ms,
                cpu_ms=execution.cpu_ms,
                max_rss_bytes=execution.rss_bytes or self._memory.rss_bytes,
                **outcome.error,
            )
        ]
        if again:
            # Before the request: if the request does not fit, the final event of the job comes behind this one.
            records.append(self._event(execution, EventKind.RETRY_SCHEDULED, at, due_at=at))
            records.append(self._next_attempt(execution, request))
        elif self._retries.gives_up(outcome, request):
            letter = self._letter(
                outcome.reason,
                outcome.error,
                execution.assignment,
                execution.offset,
                request.record_key,
                execution.value,
                request,
            )
            records += [letter, self._event(execution, EventKind.DEAD_LETTERED, at, **outcome.error)]
        return records

    def _next_attempt(self, execution: Execution, request: JobRequest) -> OutgoingRecord:
        retry = request.model_copy(update={"attempt": request.attempt + 1})
        # The lane it was read from: the one in the request may not exist.
        lane = self._topics.lane(execution.lane.removesuffix(OVERFLOW_SUFFIX))
        value = self._codec.encode(retry)
        return OutgoingRecord(lane, request.record_key, value, execution.assignment, execution.offset)

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
        """A dead letter with the key of the job's events, where there is a job."""
        letter = dead_letter(
            reason,
            cause,
            worker_id=self._worker_id,
            topic=read_from.topic,
            partition=read_from.partition,
            offset=offset,
            key=key,
            value=value,
            request=request,
        )
        letter_key = request.job_id.encode() if request else letter.record_key
        return OutgoingRecord(self._topics.dead, letter_key, self._codec.encode(letter), read_from, offset)

    def _event(
        self, execution: Execution, kind: EventKind, occurred_at: datetime | int, **fields: Any
    ) -> OutgoingRecord:
        value = execution.event_start + event_part(kind, occurred_at, **fields)
        if kind in _ANY_TIME:
            return OutgoingRecord(self._events_topic, execution.read.key, value)
        return OutgoingRecord(self._events_topic, execution.read.key, value, execution.assignment, execution.offset)
