"""Jobs that go on at this worker although their partition has moved to another one.

A partition can be given back while its jobs run: which ones is announced in the transaction that commits the partition
for the last time, and the next owner leaves them alone (`awaited_jobs.py`). Each of their outcomes is written in one
transaction with the announcement without it, by a producer of its own, so that the next owner can end this worker's
right to write them, by opening that producer's transactional id, without a harm to anything else here.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaException

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.handover_groups import HandoverGroups
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.running_elsewhere import RunningElsewhere
from millstream.consumers.kafka.transaction import ProducerLost, TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.outcomes.unwritten import cannot_be_written
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import EventKind
from millstream.schemas.ids import new_id

log = structlog.get_logger(__name__)

OPEN_WITHIN_S = 5.0
MOST_ANNOUNCED = 400
"""Jobs of one partition that are announced; the text of a commit is at most 4,095 bytes."""

MARGIN_S = 30.0
"""How long after the end of the grace period the next owner still waits: what runs has to end first."""

POLL_S = 0.005
EXPIRE_INTERVAL_S = 0.5
REST_S = 0.1
"""How long nothing is written after an aborted transaction."""

GIVEN_BACK = "its grace period at the previous owner of its partition has ended"


@dataclass(slots=True, eq=False)
class _Partition:
    """A partition that was given back, and what still runs of it here."""

    slot: int
    announced: RunningElsewhere
    grace_ends: float


@dataclass(slots=True)
class _Ended:
    """An execution that has ended, and the records of its outcome; without any it is given back."""

    partition: _Partition
    execution: Execution
    records: list[OutgoingRecord]

    def change(self, announced: RunningElsewhere) -> RunningElsewhere:
        """What is announced after this."""
        offsets = (self.execution.offset,)
        return announced.after(offsets) if self.records else announced.after((), given_back=offsets)


class RetainedJobs:
    """The executions that this worker runs for partitions that it has given back. Not thread-safe: the poll thread owns
    it.

    `transactional_id` begins the ids of the producers that write their outcomes, one after the other; `open_producer`
    begins to open one. `ended_records`: the records of an execution's outcome. `fitting` replaces records that a broker
    rejected for their size.
    """

    def __init__(
        self,
        status: WorkerStatus,
        groups: HandoverGroups,
        worker_id: str,
        transactional_id: str,
        open_producer: Callable[[str], TransactionThread],
        ended_records: Callable[[Execution], list[OutgoingRecord]],
        fitting: Callable[[Sequence[OutgoingRecord], Sequence[OutgoingRecord]], list[OutgoingRecord]],
        on_finished: Callable[[Execution], None],
    ) -> None:
        self._status = status
        self._groups = groups
        self._worker_id = worker_id
        self._prefix = transactional_id
        self._transactional_id = ""
        self._open_producer = open_producer
        self._ended_records = ended_records
        self._fitting = fitting
        self._on_finished = on_finished
        self._thread: TransactionThread | None = None
        self._by_execution: dict[Execution, _Partition] = {}
        self._waiting: list[_Ended] = []
        self._writing: list[_Ended] = []
        self._extended: set[_Partition] = set()
        self._expired_at = 0.0
        self._rests_until = 0.0

    def __len__(self) -> int:
        """How many executions have no committed outcome yet."""
        return len(self._by_execution)

    def open(self, keep_waiting: Callable[[], bool]) -> bool:
        """Wait until the producer is open; False when it cannot be opened now, so that nothing can be retained."""
        if self._thread is None:
            # An id that was fenced once may be fenced again, by a next owner that is late: it is not used again.
            self._transactional_id = f"{self._prefix}-{new_id()}"
            self._thread = self._open_producer(self._transactional_id)
            self._status.retains_as = self._transactional_id
        deadline = time.monotonic() + OPEN_WITHIN_S
        try:
            while self._thread.opening():
                if time.monotonic() > deadline or not keep_waiting():
                    return False
                time.sleep(POLL_S)
        except (ProducerLost, KafkaException) as error:
            log.warning("handover_producer_unavailable", reason=str(error))
            self._close_producer()
            return False
        return True

    def announcement(
        self, assignment: Assignment, offset: int, executions: Sequence[Execution], grace_s: float
    ) -> RunningElsewhere:
        """What to announce of a partition that is given back with `offset` as its commit. At most `MOST_ANNOUNCED`
        executions, those that have run longest."""
        longest = sorted(executions, key=lambda each: each.started_us)[:MOST_ANNOUNCED]
        return RunningElsewhere(
            assignment.topic,
            assignment.partition,
            offset,
            self._worker_id,
            self._transactional_id,
            float(round(time.time() + grace_s + MARGIN_S)),
            frozenset(each.offset for each in longest),
            cluster_id=assignment.cluster_id,
        )

    def retain(self, slot: int, announced: RunningElsewhere, executions: Iterable[Execution], grace_s: float) -> None:
        """Keep the announced ones of these executions: the announcement is committed."""
        retained = [each for each in executions if each.offset in announced.running]
        # What ended between the announcement and its commit has its outcome in that commit.
        ended = announced.running - {each.offset for each in retained}
        partition = _Partition(slot, announced.after(ended), time.monotonic() + grace_s)
        for execution in retained:
            execution.retained = True
            self._by_execution[execution] = partition

    def finish(self, execution: Execution) -> None:
        """Take the outcome of an execution of a partition that is not held any more. Outcomes of executions that are
        not retained are dropped: their jobs run again on the next owner."""
        partition = self._by_execution.get(execution)
        if partition is None:
            return
        assert execution.outcome is not None
        records: list[OutgoingRecord] = []
        if not (execution.cancelled == GIVEN_BACK and execution.outcome.kind is EventKind.CANCELLED):
            records = [each._replace(assignment=None) for each in self._ended_records(execution)]
        self._waiting.append(_Ended(partition, execution, records))

    def run_once(self) -> None:
        """Write what has ended, and give back what has had its time. Does not block."""
        if not self._by_execution:
            return
        try:
            self._expire()
            if self._thread is not None and self._thread.done:
                self._finish_transaction()
            rested = time.monotonic() >= self._rests_until
            if rested and self._thread is not None and self._thread.batch is None and (self._waiting or self._extended):
                self._begin_transaction(self._thread)
        except ProducerLost as error:
            # The next owner has taken the rest over.
            log.warning("retained_jobs_lost", jobs=len(self._by_execution), reason=str(error))
            self._drop_all()

    def cancel(self) -> None:
        """Cancel what still runs, so that it can be given back."""
        for execution in self._not_ended():
            if not execution.cancelled:
                execution.cancel(GIVEN_BACK)

    def close(self, within_s: float) -> None:
        """Give back what has not ended, and wait for at most `within_s` seconds until that is written."""
        for execution in self._not_ended():
            execution.cancel(GIVEN_BACK)
            self._waiting.append(_Ended(self._by_execution[execution], execution, []))
        deadline = time.monotonic() + within_s
        while self._by_execution and time.monotonic() < deadline:
            self.run_once()
            time.sleep(POLL_S)
        self._drop_all()

    def _not_ended(self) -> list[Execution]:
        ended = {each.execution for each in (*self._waiting, *self._writing)}
        return [each for each in self._by_execution if each not in ended]

    def _expire(self) -> None:
        now = time.monotonic()
        if now - self._expired_at < EXPIRE_INTERVAL_S:
            return
        self._expired_at = now
        for execution in self._not_ended():
            partition = self._by_execution[execution]
            if now < partition.grace_ends:
                continue
            if not execution.cancelled:
                log.warning("retained_job_given_back", job_id=execution.job_id, job_type=execution.job_type)
                execution.cancel(GIVEN_BACK)
            if time.time() > partition.announced.until - MARGIN_S / 2:
                # A plain function in a thread cannot be ended, and must not run twice at once.
                partition.announced = partition.announced.extended(MARGIN_S)
                self._extended.add(partition)

    def _begin_transaction(self, thread: TransactionThread) -> None:
        self._writing, self._waiting = self._waiting, []
        changed = {each: each.announced for each in self._extended}
        self._extended.clear()
        for ended in self._writing:
            changed[ended.partition] = ended.change(changed.get(ended.partition, ended.partition.announced))
        by_slot: dict[int, list[RunningElsewhere]] = {}
        for partition, announced in changed.items():
            by_slot.setdefault(partition.slot, []).append(announced)
        commits = [self._groups.commit(slot, announced) for slot, announced in by_slot.items()]
        records = [record for each in self._writing for record in each.records]
        thread.begin(TransactionBatch(records, commits))

    def _finish_transaction(self) -> None:
        assert self._thread is not None
        try:
            self._thread.finish()
        except TransactionAborted as error:
            log.warning("transaction_aborted", records=len(self._writing), reason=str(error))
            self._rests_until = time.monotonic() + REST_S
            for each in self._writing:
                # What cannot be written is given back: the next owner keeps it until it can be.
                refused = cannot_be_written(each.records, error)
                each.records = [] if refused else self._fitting(each.records, error.too_large)
            # An extension that was lost with it is repeated: it is written again with whatever comes next.
            self._extended.update(each for each in self._by_execution.values() if time.monotonic() > each.grace_ends)
            self._waiting[:0], self._writing = self._writing, []
            return
        written, self._writing = self._writing, []
        for each in written:
            each.partition.announced = each.change(each.partition.announced)
            del self._by_execution[each.execution]
            if each.records:
                self._on_finished(each.execution)

    def _drop_all(self) -> None:
        for execution in self._by_execution:
            execution.retained = False
            execution.cancel("the next owner of its partition runs it")
        self._by_execution.clear()
        self._extended.clear()
        self._waiting, self._writing = [], []
        self._close_producer()

    def _close_producer(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
            # Whoever waits for what was announced under this id learns that nobody writes it any more.
            self._status.retains_as = ""
