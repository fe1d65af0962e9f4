"""A worker from joining its consumer groups to leaving them.

One thread, the caller's, owns consumers, ledgers and admission and never runs a job, so none of them needs a lock and
polling goes on however long a job runs. Handlers run on the executor's threads; what happened there comes back as facts
through a deque. Transactions are written by a third thread, one at a time, so that a commit delays no start.
"""

import enum
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.concurrency import ConcurrencyControl
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.handover import Handover
from millstream.consumers.worker.intake import Intake
from millstream.consumers.worker.loop_guard import LoopGuard
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import WorkerState

log = structlog.get_logger(__name__)


class Drained(enum.Enum):
    """How a worker ended."""

    CLEAN = "everything that had started is finished and committed"
    CUT_SHORT = "the grace period ended first; what was running will be redelivered"


class WorkerSession:
    """Runs the parts of a worker in turn. After a `ProducerLost` the worker makes another session of new parts."""

    def __init__(
        self,
        status: WorkerStatus,
        members: Sequence[GroupMember],
        executor: Executor,
        intake: Intake,
        commit_loop: CommitLoop,
        handover: Handover,
        loop_guard: LoopGuard,
        concurrency: ConcurrencyControl,
    ) -> None:
        self._status = status
        self._members = members
        self._executor = executor
        self._intake = intake
        self._commit_loop = commit_loop
        self._handover = handover
        self._loop_guard = loop_guard
        self._concurrency = concurrency

    def run(self, drain_grace_s: float) -> Drained:
        """Join the groups, execute jobs until the worker is asked to stop, then drain for at most `drain_grace_s`
        seconds. Raises `ProducerLost`, `EventLoopBlocked` and `EventLoopEnded`, and `KafkaException` when transactions
        are not allowed."""
        status = self._status
        for member in self._members:
            member.join(self._handover)
        status.state = WorkerState.RUNNING
        while not status.stopping.is_set():
            status.polled_at = time.monotonic()
            self._loop_guard.check()
            self._intake.poll()
            self._commit_loop.run_once()
            self._intake.pause_or_resume()
            self._concurrency.run_once()
            self._set_ready()
        status.state = WorkerState.DRAINING
        return self._drain(drain_grace_s)

    def stop_executing(self) -> None:
        """Cancel what runs. Whatever has no committed outcome is redelivered."""
        self._handover.close()
        for member in self._members:
            for assignment in member.assignments.values():
                assignment.release()
        self._executor.stop()

    def leave_groups(self) -> None:
        """Leave all groups at once: leaving one waits for a join that is under way."""
        with ThreadPoolExecutor(len(self._members)) as leaving:
            list(leaving.map(GroupMember.close, self._members))

    def _set_ready(self) -> None:
        ready = self._status.ready
        if not ready.is_set() and all(member.joined for member in self._members):
            log.info("worker_ready")
            ready.set()

    def _drain(self, grace_s: float) -> Drained:
        """Start nothing more and let what runs finish; then commit what there is."""
        status, executor, commit_loop = self._status, self._executor, self._commit_loop
        executor.stop_starting()
        self._intake.pause_all()
        deadline = time.monotonic() + grace_s
        log.info("worker_draining", running=executor.running, grace_s=grace_s)
        while executor.running and time.monotonic() < deadline and not status.stop_now.is_set():
            self._intake.poll_paused()
            commit_loop.run_once()
            status.polled_at = time.monotonic()
        drained = Drained.CUT_SHORT if executor.running > 0 else Drained.CLEAN
        while True:
            commit_loop.write_all()
            if commit_loop.empty:
                break
        log.info("worker_drained", result=drained.value)
        return drained
