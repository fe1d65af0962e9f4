"""Ends a worker that handlers have made useless: its event loop stands still, so that it would keep its partitions and
run nothing, or too many handlers cannot be stopped."""

import time

import structlog

from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.facts import Finished
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus

log = structlog.get_logger(__name__)

WARN_AFTER_S = 1.0
HELD_S = 1.0
"""A poll thread that does not run for longer was held up, perhaps by a handler that holds the interpreter's lock."""

HELD_SHARE = 0.5
"""A handler that used so much CPU, as a part of the time that the poll thread was held up, is what held it up."""

BLAMED_WITHIN_S = 60.0
"""How long after it was held up the worker may lose its session because of that."""


class EventLoopBlocked(RuntimeError):
    """A coroutine blocks the event loop, and so all others; only the end of the process stops it."""


class EventLoopEnded(RuntimeError):
    """The thread of the event loop ended. The worker can run no more coroutines; its process must be started again."""


class TooManyStuckHandlers(RuntimeError):
    """So many handlers go on after their time-out or cancellation that only the end of the process frees what they
    hold."""


class LoopGuard:
    """Checks the executor's event loop and handlers. Used by the poll thread only.

    `limit_s`: how long a coroutine may block the loop, in seconds; 0 for ever. `most_stuck`: how many handlers may go
    on although their attempts have ended.
    """

    def __init__(
        self,
        executor: Executor,
        crash_journal: CrashJournal,
        status: WorkerStatus,
        metrics: WorkerMetrics,
        limit_s: float,
        most_stuck: int,
    ) -> None:
        self._executor = executor
        self._crash_journal = crash_journal
        self._status = status
        self._metrics = metrics
        self._limit_s = limit_s
        self._most_stuck = most_stuck
        self._warned = False
        self._checked_at = time.monotonic()
        self._held_s = 0.0
        self._held_until = float("-inf")
        self._held_with: list[Execution] = []
        """What ran when the poll thread was held up last."""

    def check(self) -> None:
        """Warn once when the loop is late, with the job and the stack that block it. Raises `EventLoopEnded`, and
        `EventLoopBlocked` past the limit; then the crash journal blames that job, so that it runs apart next time."""
        self._note_hold()
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
        execution, stack = self._blocking()
        name = f"job {execution.job_id} of type {execution.job_type!r}" if execution else "a task of no known job"
        log.warning("event_loop_blocked", by=name, late_s=round(late_s, 1), stack=stack)
        if past_limit:
            self._status.loop_blocked.set()
            self._crash_journal.freeze(execution.execution_id if execution else None)
            raise EventLoopBlocked(f"{name} has blocked the event loop for {late_s:.0f} s")

    def blame(self) -> None:
        """The session is lost. Have the crash journal blame the job that held up the whole worker, if one did."""
        execution, _ = self._blocking() if self._executor.watchdog.late_s() >= WARN_AFTER_S else (None, "")
        if execution is None and time.monotonic() - self._held_until < BLAMED_WITHIN_S:
            computed = [each for each in self._held_with if each.cpu_ns >= HELD_SHARE * self._held_s * 1e9]
            execution = max(computed, key=lambda each: each.cpu_ns, default=None)
        if execution is None:
            return
        suspect = self._crash_journal.blame(execution.read.key)
        log.error(
            "session_lost_to_job",
            job_id=execution.job_id,
            job_type=execution.job_type,
            held_s=round(self._held_s, 1),
            action="it runs in a process of its own"
            if suspect
            else "another loss makes it run in a process of its own",
        )

    def _note_hold(self) -> None:
        now = time.monotonic()
        held_s = now - self._checked_at
        if held_s >= HELD_S:
            # How much CPU each used is known when it has ended.
            ended = [fact.execution for fact in self._executor.facts.copy() if isinstance(fact, Finished)]
            self._held_s, self._held_with, self._held_until = held_s, [*self._executor.running_now(), *ended], now
        self._checked_at = now

    def _blocking(self) -> tuple[Execution | None, str]:
        """The execution whose coroutine the event loop runs, and the stack of its thread."""
        blocking, stack = self._executor.watchdog.blocking_coroutine()
        return (blocking if isinstance(blocking, Execution) else None), stack

    def too_many_stuck(self) -> TooManyStuckHandlers | None:
        """The error to end the worker with, after a drain; None while it need not end."""
        stuck = self._metrics.stuck = self._executor.stuck_by_type()
        if stuck.total() <= self._most_stuck:
            return None
        ((worst, count),) = stuck.most_common(1)
        log.error("too_many_stuck_handlers", stuck=dict(stuck), action="the worker drains and ends")
        return TooManyStuckHandlers(
            f"{stuck.total()} handlers go on after their time-out or cancellation, {count} of them of job type "
            f"{worst!r}; worker.max_stuck_handlers is {self._most_stuck}"
        )
