"""Turns what happened into records and commits them, with their offsets, one transaction after the other.

An outcome and the offset of its request go into the same transaction. A batch that was aborted goes first into the next
one, less what belongs to partitions that were released meanwhile.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.transaction import TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.schemas import DecodeError

log = structlog.get_logger(__name__)

MOST_RECORDS = 10_000
"""Records of one transaction, and of what may wait for the next one."""


class CommitLoop:
    """Writes facts of the executor as records, and the offsets of `members`. Not thread-safe: the poll thread owns it.

    `on_finished` is called for each outcome that goes into a batch; `on_aborted` for each aborted transaction.
    `interval_s`: how often a transaction begins. `most_moved_bytes`: bytes of records for other topics that may wait.
    """

    def __init__(
        self,
        thread: TransactionThread,
        members: Sequence[GroupMember],
        facts: deque[Fact],
        records: OutcomeRecords,
        oversized: Oversized,
        in_flight: InFlightJobs,
        *,
        overflow_topics: dict[str, str],
        interval_s: float,
        most_moved_bytes: int,
        on_finished: Callable[[Execution], None] = lambda execution: None,
        on_aborted: Callable[[], None] = lambda: None,
    ) -> None:
        self._thread = thread
        self._members = members
        self._facts = facts
        self._records = records
        self._oversized = oversized
        self._in_flight = in_flight
        self._overflow_topics = overflow_topics
        self._interval_s = interval_s
        self._most_moved_bytes = most_moved_bytes
        self._on_finished = on_finished
        self._on_aborted = on_aborted
        self._batch: list[OutgoingRecord] = []
        self._moved_bytes = 0
        self._began_at = time.monotonic()

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that nothing more should be taken."""
        waiting = self._thread.pending_records + len(self._batch)
        return waiting >= MOST_RECORDS or self._moved_bytes >= self._most_moved_bytes

    def opening(self) -> bool:
        """Whether the transactional producer is still being opened. Raises what `TransactionWriter.open` raises."""
        return self._thread.opening()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self._facts or self._batch)

    def give_up(
        self, assignment: Assignment, offset: int, key: bytes | None, value: bytes | None, error: DecodeError
    ) -> None:
        """Send a record that is no request to the dead letters; with that its offset is done."""
        self._pass_on(self._records.unreadable(assignment, offset, key, value, error), assignment, offset)

    def move_to_overflow(self, assignment: Assignment, offset: int, tenant: str, value: bytes) -> None:
        """Send a request to its lane's overflow topic; with that its offset is done."""
        record = OutgoingRecord(self._overflow_topics[assignment.topic], tenant.encode(), value, assignment)
        self._pass_on(record, assignment, offset)

    def run_once(self) -> None:
        """Collect what happened, and begin a transaction when one is due. Does not block. Raises `ProducerLost`, and
        `KafkaException` when transactions are not allowed."""
        self.collect()
        if self.opening():
            return
        if self._thread.done:
            self._finish_transaction()
        if self._thread.batch is None and time.monotonic() - self._began_at >= self._interval_s:
            self._begin_transaction()

    def collect(self) -> None:
        """Move facts into the batch, as far as there is room. Facts of released partitions are dropped."""
        batch, facts = self._batch, self._facts
        # What is being written may come back; both together are at most one transaction.
        room = MOST_RECORDS - self._thread.pending_records
        while facts and len(batch) < room:
            fact = facts.popleft()
            if isinstance(fact, Finished):
                if fact.execution.assignment.held:
                    self._finish(fact.execution)
            elif isinstance(fact, Started):
                batch.append(self._records.started(fact.execution))
            else:
                batch.append(self._records.progress(fact))

    def write_all(self) -> None:
        """Write what there is now and wait until it is committed or aborted. Raises `ProducerLost`."""
        self._finish_transaction()
        self.collect()
        self._begin_transaction()
        self._finish_transaction()

    def _finish(self, execution: Execution) -> None:
        self._in_flight.finish(execution)
        self._batch.extend(self._records.ended(execution))
        execution.assignment.finish(execution.offset)
        self._on_finished(execution)

    def _pass_on(self, record: OutgoingRecord, assignment: Assignment, offset: int) -> None:
        self._batch.append(record)
        self._moved_bytes += record.size
        assignment.finish(offset)

    def _begin_transaction(self) -> None:
        records = [each for each in self._batch if each.assignment is None or each.assignment.held]
        commits = [commit for member in self._members if (commit := member.commit())]
        self._began_at = time.monotonic()
        self._batch = []
        self._moved_bytes = 0
        if records or commits:
            self._thread.begin(TransactionBatch(records, commits))

    def _finish_transaction(self) -> None:
        """Wait for the transaction under way, if there is one."""
        batch = self._thread.batch
        try:
            self._thread.finish()
        except TransactionAborted as error:
            assert batch is not None
            log.warning("transaction_aborted", records=len(batch.records), reason=str(error))
            self._on_aborted()
            self._batch[:0] = self._oversized.fitting(batch.records, error.too_large)
            for member in self._members:
                member.commit_again(batch.commits)
