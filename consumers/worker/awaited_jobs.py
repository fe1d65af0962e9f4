"""Jobs of this worker's partitions that the previous owner of the partition still runs (`retained_jobs.py`).

They are taken like others and hold their ordering keys, but do not start. What becomes of each is in the announcement
of the previous owner, which is read every half second: the job has its outcome, or it is given back and starts here.
When the previous owner dies, or is late, its right to write outcomes is ended first, and then what it has not finished
starts here. So each job has one outcome, whoever runs it.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.handover_groups import SLOTS, Announced, AnnouncementUnknown, HandoverGroups
from millstream.consumers.kafka.running_elsewhere import RunningElsewhere
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.in_flight import InFlightJobs

log = structlog.get_logger(__name__)

READ_INTERVAL_S = 0.5


class AwaitedJobs:
    """The jobs that others run for the partitions of this worker. Not thread-safe: the poll thread owns it.

    `release` tells the executor that an execution need not be awaited any more, and whether it starts. `fence` ends the
    right of a transactional id to write; its result is there when that has happened. `writes_no_more`: whether a worker
    is known to write nothing more under a transactional id, of which this one learnt at a moment of the monotonic
    clock.
    """

    def __init__(
        self,
        groups: HandoverGroups,
        in_flight: InFlightJobs,
        release: Callable[[Execution, bool], None],
        fence: Callable[[str], Future[None]],
        writes_no_more: Callable[[str, str, float], bool],
    ) -> None:
        self._groups = groups
        self._in_flight = in_flight
        self._release = release
        self._fence = fence
        self._writes_no_more = writes_no_more
        self._awaited: dict[Assignment, _Awaited] = {}
        self._reading: _Reading | None = None
        self._read_at = 0.0
        self._fences: dict[str, Future[None]] = {}

    def __len__(self) -> int:
        """For how many partitions others run jobs, as far as is known."""
        return len(self._awaited)

    def resume(self, assignments: Sequence[Assignment], announced: Announced) -> None:
        """Note what is announced for partitions that this worker is being assigned."""
        for assignment in assignments:
            slots = announced.get(assignment.topic_partition, [])
            for each in filter(None, slots):
                for offset in each.finished:
                    assignment.ledger.finish_elsewhere(offset)
                assignment.awaited |= {offset for offset in each.running if not assignment.ledger.is_finished(offset)}
            if assignment.awaited:
                self._awaited[assignment] = _Awaited(slots)
                log.info(
                    "jobs_run_at_previous_owner",
                    topic=assignment.topic,
                    partition=assignment.partition,
                    jobs=len(assignment.awaited),
                    worker_ids=sorted({each.worker_id for each in filter(None, slots) if each.running}),
                )

    def add(self, execution: Execution) -> None:
        """Take an execution whose offset is awaited."""
        execution.awaited = True
        self._awaited[execution.assignment].executions[execution.offset] = execution

    def free_slot(self, assignment: Assignment) -> int | None:
        """A slot in which the partition can be announced when it is given back; None while all are in use, or while one
        holds an outcome that no commit of the partition can hold yet."""
        if assignment.ledger.finished_ahead:
            return None
        awaited = self._awaited.get(assignment)
        slots = awaited.slots if awaited else []
        used = {slot for slot, each in enumerate(slots) if each is not None and each.running & assignment.awaited}
        return next((slot for slot in range(SLOTS) if slot not in used), None)

    def run_once(self) -> None:
        """Ask what has become of the awaited jobs, and act on what is known. Does not block."""
        for assignment in [each for each in self._awaited if not each.held or not each.awaited]:
            del self._awaited[assignment]
        now = time.monotonic()
        if self._awaited and self._reading is None and now - self._read_at >= READ_INTERVAL_S:
            self._read_at = now
            fenced = {each for each, future in self._fences.items() if future.done() and future.exception() is None}
            partitions = [TopicPartition(*each.topic_partition) for each in self._awaited]
            self._reading = _Reading(list(self._awaited), self._groups.ask(partitions), fenced)
        if self._reading is not None and self._reading.answer.done():
            reading, self._reading = self._reading, None
            self._finish_reading(reading)

    def _finish_reading(self, reading: "_Reading") -> None:
        try:
            announced: Announced = reading.answer.result()
        except AnnouncementUnknown as error:
            # Usual while the previous owner writes an outcome.
            log.debug("handover_unavailable", reason=str(error))
            announced = {}
        for assignment in reading.assignments:
            awaited = self._awaited.get(assignment)
            if awaited is None or not assignment.held:
                continue
            slots = announced.get(assignment.topic_partition, awaited.slots)
            for slot, before in enumerate(awaited.slots):
                if before is not None and (open_offsets := before.running & assignment.awaited):
                    self._settle(assignment, open_offsets, before, slots[slot], reading.fenced)
            awaited.slots = slots

    def _settle(
        self,
        assignment: Assignment,
        offsets: frozenset[int],
        before: RunningElsewhere,
        now: RunningElsewhere | None,
        fenced: set[str],
    ) -> None:
        """Act on what is known of awaited offsets of one slot. `fenced`: the transactional ids that could not write any
        more when it was read."""
        if now is None or now.transactional_id != before.transactional_id:
            # Nobody but this worker may have written there since: a job that runs twice is better than one lost.
            now = before.after((), given_back=before.running)
        self._finish(assignment, offsets & now.finished)
        self._start(assignment, offsets - now.finished - now.running)
        left = offsets & now.running
        if not left:
            return
        if now.transactional_id in fenced:
            log.warning("jobs_taken_back", worker_id=now.worker_id, topic=now.topic, partition=now.partition)
            self._start(assignment, left)
        elif time.time() > now.until or self._writes_no_more(
            now.worker_id, now.transactional_id, self._awaited[assignment].since
        ):
            self._begin_fence(now.transactional_id)

    def _begin_fence(self, transactional_id: str) -> None:
        begun = self._fences.get(transactional_id)
        if begun is None or (begun.done() and begun.exception() is not None):
            self._fences[transactional_id] = self._fence(transactional_id)

    def _finish(self, assignment: Assignment, offsets: frozenset[int]) -> None:
        """The previous owner has written the outcomes of these."""
        executions = self._awaited[assignment].executions
        for offset in offsets:
            assignment.awaited.discard(offset)
            execution = executions.pop(offset, None)
            if execution is None:
                assignment.ledger.finish_elsewhere(offset)
                assignment.uncommitted = True
            else:
                assignment.finish(offset)
                self._in_flight.finish(execution)
                self._release(execution, False)

    def _start(self, assignment: Assignment, offsets: frozenset[int]) -> None:
        """The previous owner does not run these any more."""
        executions = self._awaited[assignment].executions
        for offset in offsets:
            assignment.awaited.discard(offset)
            if (execution := executions.pop(offset, None)) is not None:
                self._release(execution, True)


@dataclass(slots=True)
class _Awaited:
    """What was announced for a partition, by slot, and the executions of its awaited offsets that were delivered.
    `since`: when that was read, in seconds of the monotonic clock."""

    slots: Sequence[RunningElsewhere | None]
    executions: dict[int, Execution] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A question that is under way. `fenced`: the ids that could not write any more when it was asked."""

    assignments: Sequence[Assignment]
    answer: "Future[Announced]"
    fenced: set[str]
