"""Runs handlers: coroutines on one event loop in its own thread, plain functions in threads or in child processes."""

import asyncio
import contextlib
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

import structlog

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution.attempt import AttemptRunner
from millstream.consumers.worker.execution.cancellations import Cancellation, Cancellations, Unread
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.dispatcher import Dispatcher
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import MESSAGE_LIMIT, Fact, Progress
from millstream.consumers.worker.execution.loop_watchdog import LoopWatchdog
from millstream.consumers.worker.execution.metered_starts import meter_what_is_started
from millstream.consumers.worker.execution.metering import meter_tasks
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.consumers.worker.execution.process_child import ChildSetup
from millstream.consumers.worker.execution.queues import Queues
from millstream.consumers.worker.execution.registry import JobTypes, RunsOn
from millstream.consumers.worker.execution.runners import LoopRunner, ProcessRunner, Runner, ThreadRunner
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.scheduling.fair_queue import FairQueue
from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys
from millstream.consumers.worker.scheduling.quotas import Quotas
from millstream.redaction import Redaction

log = structlog.get_logger(__name__)

POLL_S = 0.005
STOP_WITHIN_S = 2.0
"""How long `finally` blocks of what is cancelled may take when the worker ends."""


class Executor:
    """Runs at most `concurrency` coroutines, `threads` plain functions and `job_processes` child processes at once,
    each kind in slots of its own, so that none waits behind another. It lives as long as the worker, so that what
    handlers keep, such as connections that belong to the event loop, outlives a session.

    Any thread may call the methods; what they change is changed on the event loop's thread. `facts` is filled by the
    threads that run handlers and emptied by the poll thread (appending to and popping from a deque need no lock).
    """

    def __init__(
        self,
        jobs: JobTypes,
        config: WorkerConfig,
        lanes: Sequence[str],
        crash_journal: CrashJournal,
        set_up_child: ChildSetup | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        """`set_up_child` is called in each child process before its first job. `redaction` is applied to what handlers
        say: errors and progress messages."""
        self._redaction = redaction or Redaction()
        self.facts: deque[Fact] = deque()
        quotas = Quotas(
            {("tenant", name): quota for name, quota in config.tenants.items()}
            | {("job_type", name): quota for name, quota in config.job_types.items()}
        )
        limits: dict[RunsOn, int] = {
            "loop": config.concurrency,
            "thread": config.threads,
            "process": config.job_processes,
        }
        self._slots = {kind: Slots(kind, limit, FairQueue(lanes, quotas)) for kind, limit in limits.items()}
        self._kinds = {each.runs_on for each in jobs}
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        meter_tasks(self._loop)
        meter_what_is_started()
        self._runners: dict[RunsOn, Runner] = {
            "loop": LoopRunner(self._on_progress, self._stop_attempt, self._on_first_wait),
            "thread": ThreadRunner(self._on_progress, self._stop_attempt, self._loop, config.threads),
            "process": ProcessRunner(self._on_progress, self._loop, config.job_processes, set_up_child),
        }
        self._cancellations = Cancellations()
        attempts = AttemptRunner(jobs, self._cancellations, self._runners, self._redaction)
        self._queues = Queues(jobs, self._slots, OrderingKeys[Execution](), crash_journal, config.unknown_type_grace_s)
        self._dispatcher = Dispatcher(
            self._loop, self._queues, self._slots, quotas, crash_journal, attempts, self.facts.append
        )
        self._thread = threading.Thread(target=self._run_loop, name="millstream-loop", daemon=True)
        self.watchdog = LoopWatchdog(self._loop, self._thread)

    def __enter__(self) -> Self:
        """Start the event loop's thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(STOP_WITHIN_S)

    def submit(self, executions: Iterable[Execution]) -> None:
        """Queue executions; returns at once."""
        self._loop.call_soon_threadsafe(self._dispatcher.admit, list(executions))

    @property
    def running(self) -> int:
        """How many executions have a slot."""
        return sum(len(slots.running) for slots in self._slots.values())

    @property
    def waiting(self) -> int:
        """How many executions wait to start."""
        return len(self._queues)

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return sum(slots.limit for slots in self._slots.values())

    @property
    def all_slots_used(self) -> bool:
        """Whether every slot that a job type of this worker runs in is in use."""
        return not any(self._slots[kind].free for kind in self._kinds)

    @property
    def alive(self) -> bool:
        """Whether the event loop's thread is running."""
        return self._thread.is_alive()

    def queued_by_tenant(self) -> Counter[str]:
        """How many executions of each tenant wait to start."""
        return self._queues.by_tenant()

    def running_now(self) -> list[Execution]:
        """The executions that have a slot, in no order."""
        return [execution for slots in self._slots.values() for execution in slots.running.copy()]

    def set_concurrency(self, limit: int) -> int:
        """Change how many coroutines may run at once; returns the most that did since the last call."""
        slots = self._slots["loop"]
        grown = limit > slots.limit
        slots.limit = limit
        busiest = slots.take_busiest()
        if grown:
            self._loop.call_soon_threadsafe(self._dispatcher.fill, slots)
        return busiest

    def change_quotas(self, change: Callable[[Quotas], None]) -> None:
        """Apply a change to the quotas, and start what may start now."""
        self._loop.call_soon_threadsafe(self._dispatcher.change_quotas, change)

    def cancel(self, job_id: str, reason: str, issued_us: float = math.inf) -> None:
        """Cancel a job: at once if it runs, when its turn comes if it waits or arrives later. `issued_us`: when that
        was said, in microseconds since 1970; a job that was submitted later is another one."""
        self._loop.call_soon_threadsafe(self._cancel, job_id, Cancellation(reason, issued_us))

    def cancel_unread(self, records: Mapping[str, bytes], read: Unread) -> None:
        """Cancel many jobs by id, none of which runs yet. `read` makes the cancellation of a record, on the event
        loop's thread."""
        self._loop.call_soon_threadsafe(self._cancellations.add_unread, records, read)

    def revoke_cancellation(self, job_id: str) -> None:
        """Let a job run after all, or drop the cancellation of one that has ended."""
        self._loop.call_soon_threadsafe(self._cancellations.revoke, job_id)

    def cancel_lost(self) -> None:
        """Cancel what runs for partitions that are no longer held, and drop what waits for them."""
        self._loop.call_soon_threadsafe(self._dispatcher.cancel_lost)

    def resume_suspended(self) -> None:
        """Start what did not start because its partition was suspended, and drop what belongs to none that is held."""
        self._loop.call_soon_threadsafe(self._dispatcher.resume_suspended)

    def release_awaited(self, execution: Execution, starts: bool) -> None:
        """Start an execution that was awaited, or drop it because it has its outcome."""
        self._loop.call_soon_threadsafe(self._dispatcher.release_awaited, execution, starts)

    def stuck_by_type(self) -> Counter[str]:
        """How many handlers of each job type go on although their attempts have ended."""
        return self._dispatcher.stopping.stuck_by_type()

    def stop_starting(self) -> None:
        """Start no more executions; what waits will be redelivered."""
        self._dispatcher.accepting = False

    def start_again(self) -> None:
        """Start executions again after `stop_starting` or `cancel_all`."""
        self._dispatcher.accepting = True

    def cancel_all(self, within_s: float) -> None:
        """Cancel what runs, drop what waits for partitions that are no longer held, and start nothing more. Returns
        once no slot is in use, after `within_s` seconds at the latest."""
        self._dispatcher.accepting = False
        if self.alive:
            deadline = time.monotonic() + within_s
            self._cancel_and_wait(deadline)

    def stop(self, within_s: float) -> None:
        """Cancel what runs, and end the event loop, threads and processes. Handlers have `within_s` seconds for their
        `finally` blocks. Facts that follow are not written."""
        self._dispatcher.accepting = False
        if self.alive:
            deadline = time.monotonic() + within_s
            self._cancel_and_wait(deadline)
            while self.stuck_by_type() and time.monotonic() < deadline:
                time.sleep(POLL_S)
            self._stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(max(deadline - time.monotonic(), 1.0))
        for runner in self._runners.values():
            runner.stop()

    def _cancel_and_wait(self, deadline: float) -> None:
        cancelled = threading.Event()

        def cancel() -> None:
            self._dispatcher.cancel_all()
            cancelled.set()

        self._loop.call_soon_threadsafe(cancel)
        cancelled.wait(deadline - time.monotonic())
        while self.running and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self.watchdog.tick()
        while not self._stopped:
            try:
                self._loop.run_forever()
            except BaseException:
                # asyncio lets SystemExit and KeyboardInterrupt of a task that a handler made end the loop. They fail
                # the job that awaits the task, once the loop goes on.
                log.exception("event_loop_interrupted", action="the event loop goes on")
        # What goes on has been reported as stuck; asyncio would report each of its tasks again.
        self._loop.set_exception_handler(lambda loop, context: None)
        # Its descriptors go with it. A thread that still runs a handler finds it closed.
        with contextlib.suppress(RuntimeError):
            self._loop.close()

    def _on_progress(self, execution: Execution, fraction: float, message: str) -> None:
        # On the handler's thread, which the time of a long message belongs to.
        text = self._redaction.cut(message, MESSAGE_LIMIT)
        self.facts.append(Progress(execution, datetime.now(UTC), fraction, text))

    def _stop_attempt(self, execution: Execution, ends_as: Outcome) -> None:
        self._dispatcher.stopping.stop(execution, ends_as)

    def _on_first_wait(self) -> None:
        self._dispatcher.on_first_wait()

    def _cancel(self, job_id: str, cancellation: Cancellation) -> None:
        self._cancellations.add(job_id, cancellation)
        self._dispatcher.cancel(job_id, cancellation)
