"""A worker from joining its consumer groups to leaving them.

One thread, the caller's, owns consumers, ledgers and admission and never runs a job, so none of them needs a lock and
polling goes on however long a job runs. Handlers run on the executor's threads; what happened there comes back as facts
through a deque. Transactions are written by a third thread, one at a time, so that a commit delays no start.
"""

import enum
import time
from collections.abc import Sequence

import structlog

from millstream.consumers.kafka.frozen_process import run_or_exit
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.concurrency import ConcurrencyControl
from millstream.consumers.worker.denied_partitions import DeniedPartitions
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.handover import Handover
from millstream.consumers.worker.intake import Intake
from millstream.consumers.worker.loop_guard import LoopGuard, TooManyStuckHandlers
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import WorkerState

log = structlog.get_logger(__name__)

POLL_S = 0.005
IDLE_POLLS = 4
"""How often an idle worker looks for jobs before its other parts have their turn, which comes every 0.2 s then."""

REJOIN_WITHIN_S = 8.0
"""How long a drain goes on writing during a rebalance that is under way, which a member cannot leave."""

CANCEL_WITHIN_S = 2.0
"""How long what was cancelled at the end of a drain or of a session may take to end."""


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
        denied: DeniedPartitions,
    ) -> None:
        self._status = status
        self._members = members
        self._executor = executor
        self._intake = intake
        self._commit_loop = commit_loop
        self._handover = handover
        self._loop_guard = loop_guard
        self._concurrency = concurrency
        self._denied = denied

    def run(self, drain_grace_s: float) -> Drained:
        """Join the groups, execute jobs until the worker is asked to stop, then drain for at most `drain_grace_s`
        seconds. Raises `ProducerLost`, `EventLoopBlocked` and `EventLoopEnded`, after the drain `TooManyStuckHandlers`,
        and `KafkaException` when transactions are not allowed."""
        status = self._status
        stuck: TooManyStuckHandlers | None = None
        for member in self._members:
            member.join(self._handover)
        status.state = WorkerState.RUNNING
        while not status.stopping.is_set() and (stuck := self._loop_guard.too_many_stuck()) is None:
            status.polled_at = time.monotonic()
            self._loop_guard.check()
            self._poll()
            self._commit_loop.run_once()
            self._intake.pause_or_resume()
            self._handover.run_once()
            self._concurrency.run_once()
            self._denied.run_once()
            self._set_ready()
        status.state = WorkerState.DRAINING
        drained = self._drain(drain_grace_s)
        if stuck is not None:
            raise stuck
        return drained

    def blame(self) -> None:
        """The producer is lost: a job that held up the whole worker is blamed for it."""
        self._loop_guard.blame()

    def stop_executing(self) -> None:
        """Cancel what runs, and let it end for at most `CANCEL_WITHIN_S` seconds. Whatever has no committed outcome is
        redelivered."""
        self._handover.release_all(self._members)
        self._executor.cancel_all(CANCEL_WITHIN_S)
        self._handover.close()

    def leave_groups(self) -> None:
        """Leave all groups at once: leaving one waits for a join that is under way."""
        run_or_exit([member.leave for member in self._members])

    def _poll(self) -> None:
        """Poll; several times in a row while nothing has work for the others: most of what an idle worker costs is to
        ask each of its parts."""
        for _ in range(IDLE_POLLS):
            if not self._intake.poll() or self._status.stopping.is_set():
                return
            if not (self._commit_loop.empty and self._handover.idle):
                return

    def _set_ready(self) -> None:
        ready = self._status.ready
        if not ready.is_set() and all(member.joined for member in self._members):
            log.info("worker_ready")
            ready.set()

    def _drain(self, grace_s: float) -> Drained:
        """Start nothing more, give the partitions to the other workers at once, and let what runs finish."""
        executor, handover = self._executor, self._handover
        executor.stop_starting()
        self._intake.pause_all()
        deadline = time.monotonic() + grace_s
        log.info("worker_draining", running=executor.running, grace_s=grace_s)
        self._denied.drop_all()
        handover.retain_all(self._members, grace_s)
        while self._goes_on(deadline) and not all(each.retained for each in executor.running_now()):
            # What cannot go on without its partition keeps it.
            self._intake.poll_paused()
            self._write()
        cut_short = not all(each.retained for each in executor.running_now())
        while not self._commit_loop.write_all(deadline=deadline) and self._goes_on(deadline):
            self._intake.poll_paused()
            self._write()
        cut_short = cut_short or not self._commit_loop.empty
        rejoined_by = time.monotonic() + REJOIN_WITHIN_S
        while any(map(self._denied.rejoins, self._members)) and self._goes_on(min(deadline, rejoined_by)):
            self._intake.poll_paused()
            self._write()
        handover.give_back_all(self._members)
        self.leave_groups()
        while self._goes_on(deadline) and (executor.running or handover.retained):
            self._write()
        cut_short = cut_short or bool(executor.running or handover.retained)
        drained = Drained.CUT_SHORT if cut_short else Drained.CLEAN
        handover.cancel_retained()
        deadline = time.monotonic() + CANCEL_WITHIN_S
        while handover.retained and time.monotonic() < deadline:
            self._write()
        self._commit_loop.write_all(deadline=deadline)
        log.info("worker_drained", result=drained.value)
        return drained

    def _goes_on(self, deadline: float) -> bool:
        """Whether there is time left, and sense in waiting: while Kafka refuses what every outcome needs, none is
        written, so what runs is redelivered in any case."""
        return time.monotonic() < deadline and not (self._status.stop_now.is_set() or self._commit_loop.denied)

    def _write(self) -> None:
        self._commit_loop.run_once()
        self._handover.run_once()
        self._status.polled_at = time.monotonic()
        time.sleep(POLL_S)
