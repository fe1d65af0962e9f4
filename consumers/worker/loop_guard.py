"""Ends a worker whose event loop stands still: it would keep its partitions and run nothing."""

import structlog

from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus

log = structlog.get_logger(__name__)

WARN_AFTER_S = 1.0


class EventLoopBlocked(RuntimeError):
    """A coroutine blocks the event loop, and so all others; only the end of the process stops it."""


class EventLoopEnded(RuntimeError):
    """The thread of the event loop ended. The worker can run no more coroutines; its process must be started again."""


class LoopGuard:
    """Checks the executor's event loop. Used by the poll thread only.

    `limit_s`: how long a coroutine may block the loop, in seconds; 0 for ever.
    """

    def __init__(
        self,
        executor: Executor,
        crash_journal: CrashJournal,
        status: WorkerStatus,
        metrics: WorkerMetrics,
        limit_s: float,
    ) -> None:
        self._executor = executor
        self._crash_journal = crash_journal
        self._status = status
        self._metrics = metrics
        self._limit_s = limit_s
        self._warned = False

    def check(self) -> None:
        """Warn once when the loop is late, with the job and the stack that block it. Raises `EventLoopEnded`, and
        `EventLoopBlocked` past the limit; then the crash journal blames that job, so that it runs apart next time."""
        if not self._executor.alive:
            raise EventLoopEnded("the thread of the event loop ended")
        late_s = self._metrics.loop_late_s = self._executor.watchdog.late_s()
        if late_s < WARN_AFTER_S:
            self._warned = False
            return
        past_limit = 0 < self._limit_s < late_s
        if self._warned and not past_limit:
            return
        self._warned = True
        blocking, stack = self._executor.watchdog.blocking_coroutine()
        execution = blocking if isinstance(blocking, Execution) else None
        name = f"job {execution.job_id} of type {execution.job_type!r}" if execution else "a task of no known job"
        log.warning("event_loop_blocked", by=name, late_s=round(late_s, 1), stack=stack)
        if past_limit:
            self._status.loop_blocked.set()
            self._crash_journal.freeze(execution.execution_id if execution else None)
            raise EventLoopBlocked(f"{name} has blocked the event loop for {late_s:.0f} s")
