"""Turns what happened into records and commits them, with their offsets, one transaction after the other.

An outcome and the offset of its request go into the same transaction. A batch that was aborted goes first into the next
one, less what belongs to partitions that were released meanwhile and what cannot be written now (`unwritten.py`).
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import structlog

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.topic_access import TopicAccess, Unusable
from millstream.consumers.kafka.transaction import Commit, TransactionAborted
from millstream.consumers.worker.batch_writer import BatchWriter
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.outcomes.unwritten import REFUSED, UnwrittenRecords
from millstream.consumers.worker.status import NOT_READY_AFTER_S, WorkerStatus
from millstream.schemas import DecodeError

log = structlog.get_logger(__name__)

MOST_RECORDS = 10_000
"""Records of one transaction, and of what may wait for the next one."""

ASK_INTERVAL_S = 2.0
"""How often a topic that cannot be written is asked about."""

TELL_INTERVAL_S = 60.0
"""How often it is said that a topic cannot be written."""

POLL_S = 0.005


class CommitLoop:
    """Writes facts of the executor as records, and the offsets of the worker's members. Not thread-safe: the poll
    thread owns it.

    `on_finished` is called for each outcome that goes into a batch; `on_released` for each execution whose outcome
    is not this loop's any more, because its partition was given back; `on_aborted` for each aborted transaction.
    `interval_s`: how often a transaction begins. `most_waiting_bytes`: bytes of records that may wait.
    `write_within_s`: how long `write_all` waits.
    """

    def __init__(
        self,
        writer: BatchWriter,
        facts: deque[Fact],
        records: OutcomeRecords,
        unwritten: UnwrittenRecords,
        in_flight: InFlightJobs,
        access: TopicAccess,
        status: WorkerStatus,
        *,
        overflow_topics: dict[str, str],
        interval_s: float,
        most_waiting_bytes: int,
        write_within_s: float,
        on_finished: Callable[[Execution], None] = lambda execution: None,
        on_aborted: Callable[[], None] = lambda: None,
        on_released: Callable[[Execution], None] = lambda execution: None,
    ) -> None:
        self._writer = writer
        self._facts = facts
        self._records = records
        self._unwritten = unwritten
        self._batch = unwritten.batch
        self._in_flight = in_flight
        self._access = access
        self._status = status
        self._overflow_topics = overflow_topics
        self._interval_s = interval_s
        self._most_waiting_bytes = most_waiting_bytes
        self._write_within_s = write_within_s
        self._on_finished = on_finished
        self._on_aborted = on_aborted
        self._on_released = on_released
        self._began_at = time.monotonic()
        self._asked: Future[Unusable] | None = None
        self._ask_at = 0.0
        self._told = False
        self._tell_at = 0.0

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that nothing more should be taken."""
        unwritten = self._unwritten
        return (
            self._writer.pending_records + len(self._batch) >= MOST_RECORDS
            or self._batch.bytes >= self._most_waiting_bytes
            or unwritten.stopped
            or unwritten.parked.full
        )

    def opening(self) -> bool:
        """Whether the worker's first transactional producer is still being opened. Raises `ProducerLost` when the
        worker has to start over, and `KafkaException` when transactions are not allowed."""
        if self._writer.opened:
            return False
        self._advance()
        return not self._writer.opened

    def is_writing(self, assignment: Assignment) -> bool:
        """Whether it is unknown what becomes of a transaction with offsets of this partition."""
        return self._writer.is_writing(assignment)

    @property
    def denied(self) -> bool:
        """Whether Kafka refuses a right without which no outcome can be written."""
        return self._unwritten.denied

    @property
    def empty(self) -> bool:
        """Whether everything is written."""
        return not (self._facts or self._batch or self._unwritten.parked or self._writer.busy)

    def give_up(
        self, assignment: Assignment, offset: int, key: bytes | None, value: bytes | None, error: DecodeError
    ) -> None:
        """Send a record that is no request to the dead letters; with that its offset is done."""
        self._pass_on(self._records.unreadable(assignment, offset, key, value, error), assignment, offset)

    def move_to_overflow(self, assignment: Assignment, offset: int, key: str, value: bytes) -> None:
        """Send a request to its lane's overflow topic; with that its offset is done."""
        topic = self._overflow_topics[assignment.topic]
        self._pass_on(OutgoingRecord(topic, key.encode(), value, assignment, offset), assignment, offset)

    def run_once(self) -> None:
        """Collect what happened, and begin a transaction when one is due. Blocks only after the producer was lost,
        while committed offsets are read. Raises `ProducerLost` when the worker has to start over, and `KafkaException`
        when transactions are not allowed."""
        self.collect()
        self._advance()
        self._ask_about_topics()
        due = time.monotonic() - self._began_at >= self._interval_s
        if due and self._writer.may_begin() and not self._unwritten.stopped:
            self._begin()
        self._report()

    def collect(self) -> None:
        """Move facts into the batch, as far as there is room."""
        batch, records, facts = self._batch, self._batch.records, self._facts
        # What is being written may come back; both together are at most one transaction.
        room = MOST_RECORDS - self._writer.pending_records
        while facts and len(records) < room and batch.bytes < self._most_waiting_bytes:
            fact = facts.popleft()
            if isinstance(fact, Finished):
                if fact.execution.assignment.held and not fact.execution.retained:
                    self._finish(fact.execution)
                else:
                    self._on_released(fact.execution)
            elif isinstance(fact, Started):
                batch.append(self._records.started(fact.execution))
            else:
                batch.append(self._records.progress(fact))

    def write_all(self, also: Sequence[Commit] = (), deadline: float = math.inf) -> bool:
        """Write what there is now, and `also` these commits, and wait until it is committed or aborted, or has taken
        `write_within_s` seconds; at most until `deadline`, in seconds of the monotonic clock. Returns whether all is
        written but what is parked. Raises `ProducerLost`."""
        if self.empty and not also and self._writer.opening():
            return True
        deadline = min(deadline, time.monotonic() + self._write_within_s)
        self.settle(deadline)
        while True:
            self.collect()
            if not self._writer.may_begin() or self._unwritten.stopped:
                return False
            last = self._begin(also)
            if self.settle(deadline) is not None or self._writer.busy:
                return False
            if last and not self._facts:
                return True

    def end_pending_offsets(self) -> None:
        """End offsets that an earlier transaction of this worker has left pending, when nothing is being written."""
        if self._writer.may_begin():
            self._writer.renew()

    def settle(self, deadline: float) -> TransactionAborted | None:
        """Wait until another transaction may begin, and so until it is known what became of the last one, but no longer
        than `deadline`, in seconds of the monotonic clock. Returns why a transaction was aborted, if one was. Raises
        `ProducerLost`."""
        aborted = self._advance()
        while not self._writer.may_begin() and time.monotonic() < deadline:
            time.sleep(POLL_S)
            aborted = self._advance() or aborted
        return aborted

    def _finish(self, execution: Execution) -> None:
        self._in_flight.finish(execution)
        self._batch.extend(self._records.ended(execution))
        execution.assignment.finish(execution.offset)
        self._on_finished(execution)

    def _pass_on(self, record: OutgoingRecord, assignment: Assignment, offset: int) -> None:
        self._batch.append(record)
        assignment.finish(offset)

    def _begin(self, also: Sequence[Commit] = ()) -> bool:
        """Begin a transaction; returns whether it holds everything that can be written now, and so `also`."""
        self._began_at = time.monotonic()
        records = self._unwritten.take(self._began_at)
        last = not records or not self._batch
        self._writer.begin(records, also if last else ())
        return last

    def _advance(self) -> TransactionAborted | None:
        """Go on with the transaction under way; returns why it was aborted, if it was."""
        written = self._writer.advance()
        if written is None:
            return None
        if (error := written.aborted) is None:
            self._unwritten.committed(written.records, written.took_s)
            self._status.writing.committed()
            return None
        log.warning("transaction_aborted", records=len(written.records), reason=str(error))
        self._on_aborted()
        self._unwritten.aborted(written.records, error, time.monotonic())
        if error.code not in REFUSED and not error.unwritable:
            self._writer.rest()
        return error

    def _ask_about_topics(self) -> None:
        """While something cannot be written, ask from time to time whether a broker answers, and for which topics."""
        unwritten, writing = self._unwritten, self._status.writing
        if self._asked is not None and self._asked.done():
            still = self._asked.result()
            self._asked = None
            writing.kafka_away = still is None
            if still is not None:
                unwritten.write_again(unwritten.unwritable.keys() - still.keys())
        now = time.monotonic()
        if unwritten.unwritable and now >= self._tell_at:
            if self._told:
                unwritten.tell_again()
            self._told, self._tell_at = True, now + TELL_INTERVAL_S
        elif not unwritten.unwritable:
            self._told, self._tell_at = False, 0.0
        stands = unwritten.unwritable or writing.stands_for_s > NOT_READY_AFTER_S
        if stands and self._asked is None and now >= self._ask_at:
            self._ask_at = now + ASK_INTERVAL_S
            self._asked = self._access.ask({unwritten.events_topic, *unwritten.unwritable})

    def _report(self) -> None:
        unwritten, writing = self._unwritten, self._status.writing
        writing.waits(bool(self._batch or self._writer.busy))
        if unwritten.unwritable or unwritten.parked or writing.unwritable or writing.parked:
            writing.parked = len(unwritten.parked)
            writing.unwritable = dict(unwritten.unwritable)
