"""Runs handlers: coroutines on one event loop in its own thread, plain functions in threads or in child processes."""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import structlog

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution.attempt import AttemptRunner
from millstream.consumers.worker.execution.cancellations import Cancellations
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.dispatcher import Dispatcher
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Progress
from millstream.consumers.worker.execution.loop_watchdog import LoopWatchdog
from millstream.consumers.worker.execution.registry import JobTypes, RunsOn
from millstream.consumers.worker.execution.runners import LoopRunner, ProcessRunner, Runner, ThreadRunner
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.scheduling.fair_queue import FairQueue
from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys
from millstream.consumers.worker.scheduling.quotas import Quotas

log = structlog.get_logger(__name__)


class Executor:
    """Runs at most `concurrency` coroutines, `threads` plain functions and `job_processes` child processes at once,
    each kind in slots of its own, so that none waits behind another.

    Any thread may call the methods; what they change is changed on the event loop's thread. `facts` is filled by the
    threads that run handlers and emptied by the poll thread (appending to and popping from a deque need no lock).
    """

    def __init__(self, jobs: JobTypes, config: WorkerConfig, lanes: Sequence[str], crash_journal: CrashJournal) -> None:
        self.facts: deque[Fact] = deque()
        quotas = Quotas(
            {("tenant", name): quota for name, quota in config.tenants.items()}
            | {("job_type", name): quota for name, quota in config.job_types.items()}
        )
        self._keys = OrderingKeys[Execution]()
        limits: dict[RunsOn, int] = {
            "loop": config.concurrency,
            "thread": config.threads,
            "process": config.job_processes,
        }
        self._slots = {kind: Slots(kind, limit, FairQueue(lanes, quotas)) for kind, limit in limits.items()}
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._runners: dict[RunsOn, Runner] = {
            "loop": LoopRunner(self._on_progress, self._on_first_wait),
            "thread": ThreadRunner(self._on_progress, self._loop, config.threads),
            "process": ProcessRunner(self._on_progress, self._loop, config.job_processes),
        }
        self._cancellations = Cancellations()
        attempts = AttemptRunner(jobs, self._cancellations, self._runners)
        self._dispatcher = Dispatcher(
            self._loop, jobs, self._slots, quotas, self._keys, crash_journal, attempts.run, self.facts.append
        )
        self._thread = threading.Thread(target=self._run_loop, name="millstream-loop", daemon=True)
        self.watchdog = LoopWatchdog(self._loop, self._thread)

    def start(self) -> None:
        """Start the event loop's thread."""
        self._thread.start()

    def submit(self, executions: Iterable[Execution]) -> None:
        """Queue executions; returns at once."""
        self._loop.call_soon_threadsafe(self._dispatcher.admit, list(executions))

    @property
    def running(self) -> int:
        """How many executions have a slot."""
        return sum(len(slots.running) for slots in self._slots.values())

    @property
    def waiting(self) -> int:
        """How many executions wait for a slot."""
        return sum(len(slots.queue) for slots in self._slots.values()) + len(self._keys)

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return sum(slots.limit for slots in self._slots.values())

    @property
    def alive(self) -> bool:
        """Whether the event loop's thread is running."""
        return self._thread.is_alive()

    def queued_by_tenant(self) -> Counter[str]:
        """How many executions of each tenant wait for a slot."""
        waiting: Counter[str] = Counter()
        for slots in self._slots.values():
            waiting.update(slots.queue.by_tenant())
        return waiting

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

    def cancel(self, job_id: str, reason: str) -> None:
        """Cancel a job: at once if it runs, when its turn comes if it waits or arrives later."""
        self._loop.call_soon_threadsafe(self._cancel, job_id, reason)

    def revoke_cancellation(self, job_id: str) -> None:
        """Let a job run after all, or drop the cancellation of one that has ended."""
        self._loop.call_soon_threadsafe(self._cancellations.revoke, job_id)

    def cancel_lost(self) -> None:
        """Cancel what runs for partitions that are no longer held, and drop what waits for them."""
        self._loop.call_soon_threadsafe(self._dispatcher.cancel_lost)

    def stop_starting(self) -> None:
        """Start no more executions; what waits will be redelivered."""
        self._dispatcher.accepting = False

    def stop(self) -> None:
        """End the event loop, threads and processes. Facts that follow are not written."""
        self._dispatcher.accepting = False
        self._stopped = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2)
        for runner in self._runners.values():
            runner.stop()

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

    def _on_progress(self, execution: Execution, fraction: float, message: str) -> None:
        self.facts.append(Progress(execution, datetime.now(UTC), fraction, message))

    def _on_first_wait(self) -> None:
        self._dispatcher.on_first_wait()

    def _cancel(self, job_id: str, reason: str) -> None:
        self._cancellations.add(job_id, reason)
        self._dispatcher.cancel(job_id, reason)
