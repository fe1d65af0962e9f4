"""Runs handlers: coroutines on one event loop in its own thread, plain functions in threads or in child processes."""

import asyncio
import contextlib
import contextvars
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import structlog
from pydantic import ValidationError

from millstream.consumers.threads import ThreadPool
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Progress, Started
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.loop_watchdog import LoopWatchdog
from millstream.consumers.worker.execution.metering import metered, metered_call
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.process_child import Task
from millstream.consumers.worker.execution.process_pool import Limits, ProcessPlace
from millstream.consumers.worker.execution.registry import JobType, JobTypes, RunsOn
from millstream.consumers.worker.execution.tracing import attempt_span
from millstream.consumers.worker.scheduling.fair_queue import FairQueue, OrderingKeys
from millstream.consumers.worker.scheduling.quotas import Quotas
from millstream.schemas import DeadReason, EventKind

log = structlog.get_logger(__name__)

REMEMBERED_CANCELLATIONS = 100_000
TURN_S = 0.005
"""So long may coroutines that wait for nothing follow each other before the event loop has its turn."""


class UnknownJobType(LookupError):
    """No handler of this worker has the request's job type."""


class _Places:
    """Where executions of one kind run: how many at once, which run, and which wait for a place."""

    def __init__(self, kind: RunsOn, limit: int, queue: FairQueue[Execution]) -> None:
        self.kind = kind
        self.limit = limit
        self.queue = queue
        self.running: set[Execution] = set()
        self.busiest = 0
        self.runner: asyncio.Task[None] | None = None
        """The task that begins what waits here; only of the event loop's own kind."""


class Executor:
    """Runs executions as the fair queue says: at most `concurrency` coroutines, `threads` plain functions and
    `job_processes` child processes at once, each kind with its own places, so that none waits behind another.

    Any thread may call `submit` and what changes quotas; the event loop's thread owns the queue. `finished` and `told`
    are filled there and emptied by the poll thread (appending to and popping from a deque need no lock).
    """

    def __init__(
        self,
        jobs: JobTypes,
        config: WorkerConfig,
        lanes: Sequence[str],
        journal: CrashJournal,
    ) -> None:
        self.facts: deque[Fact] = deque()
        self._jobs = jobs
        self._journal = journal
        self._quotas = Quotas(
            {("tenant", name): quota for name, quota in config.tenants.items()}
            | {("job_type", name): quota for name, quota in config.job_types.items()}
        )
        self._keys = OrderingKeys[Execution]()
        limits: dict[RunsOn, int] = {
            "loop": config.concurrency,
            "thread": config.threads,
            "process": config.job_processes,
        }
        self._places = {kind: _Places(kind, limit, FairQueue(lanes, self._quotas)) for kind, limit in limits.items()}
        self._cancelled: dict[str, str] = {}
        self._accepting = True
        self._stopped = False
        self._wake_at = math.inf
        self._threads = ThreadPool(config.threads, "millstream-thread")
        self._drivers = ThreadPool(config.job_processes, "millstream-process")
        self._idle_processes = [ProcessPlace() for _ in range(config.job_processes)]
        self._processes = list(self._idle_processes)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="millstream-loop", daemon=True)
        self.watch = LoopWatchdog(self._loop, self._thread)

    def start(self) -> None:
        self._thread.start()

    def submit(self, executions: Iterable[Execution]) -> None:
        """Queue executions; returns at once."""
        self._loop.call_soon_threadsafe(self._admit, list(executions))

    @property
    def running(self) -> int:
        return sum(len(places.running) for places in self._places.values())

    @property
    def waiting(self) -> int:
        return sum(len(places.queue) for places in self._places.values()) + len(self._keys)

    @property
    def capacity(self) -> int:
        return sum(places.limit for places in self._places.values())

    @property
    def alive(self) -> bool:
        """Whether the event loop's thread still runs."""
        return self._thread.is_alive()

    def queued_by_tenant(self) -> Counter[str]:
        """How many jobs wait for a place, by tenant."""
        waiting: Counter[str] = Counter()
        for places in self._places.values():
            waiting.update(places.queue.by_tenant())
        return waiting

    def running_now(self) -> list[Execution]:
        """The executions that run, in no order."""
        return [execution for places in self._places.values() for execution in places.running.copy()]

    def set_concurrency(self, limit: int) -> int:
        """Change how many coroutines run at once; returns the most that did since the last call."""
        places = self._places["loop"]
        grown = limit > places.limit
        places.limit = limit
        busiest, places.busiest = places.busiest, len(places.running)
        if grown:
            self._loop.call_soon_threadsafe(self._fill, places)
        return busiest

    def change_quotas(self, change: Callable[[Quotas], None]) -> None:
        """Apply a change to the quotas and let begin what may begin now."""
        self._loop.call_soon_threadsafe(self._change_quotas, change)

    def cancel(self, job_id: str, reason: str) -> None:
        """End a job: now if it runs, when its turn comes if it waits or arrives later."""
        self._loop.call_soon_threadsafe(self._cancel, job_id, reason)

    def forget_cancellation(self, job_id: str) -> None:
        """The job has ended, or shall run after all."""
        self._loop.call_soon_threadsafe(self._cancelled.pop, job_id, None)

    def cancel_lost(self) -> None:
        """End what runs for partitions that are another worker's by now."""
        self._loop.call_soon_threadsafe(self._cancel_lost)

    def stop_starting(self) -> None:
        """Start no more executions; what waits will be redelivered to another worker."""
        self._accepting = False

    def stop(self) -> None:
        """Cancel what still runs and end the threads and processes. Outcomes that come after this are not written."""
        self._accepting = False
        self._stopped = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2)
        for place in self._processes:
            place.kill()
        self._threads.stop()
        self._drivers.stop()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self.watch.beat()
        while not self._stopped:
            try:
                self._loop.run_forever()
            except BaseException:
                # asyncio lets SystemExit and KeyboardInterrupt of a task that a handler made end the loop. They are the
                # failure of the job that waits for the task, which hears of it when the loop goes on.
                log.exception("a task of a job tried to end the worker, the event loop goes on")

    def _admit(self, executions: list[Execution]) -> None:
        for execution in executions:
            if not execution.ordering_key or self._keys.claim(execution):
                self._places_of(execution).queue.put(execution)
        for places in self._places.values():
            self._fill(places)

    def _places_of(self, execution: Execution) -> _Places:
        job_type = self._jobs.get(execution.job_type)
        if job_type is None:
            return self._places["loop"]
        if self._journal.suspects and execution.job_id in self._journal.suspects and job_type.importable:
            return self._places["process"]
        return self._places[job_type.runs_on]

    def _fill(self, places: _Places) -> None:
        """Begin executions while there are places and the queue has something that may begin."""
        if places.kind == "loop":
            if places.runner is None and len(places.queue) and len(places.running) < places.limit:
                places.runner = self._begin_task(self._run_one_after_another(places))
        else:
            while (execution := self._next(places)) is not None:
                self._begin_task(self._execute(execution, places))

    def _begin_task(self, run: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task in a context of its own: what began it may be another job, whose trace is none of this one's."""
        return self._loop.create_task(run, context=contextvars.Context())

    def _next(self, places: _Places) -> Execution | None:
        """The execution that begins now, already in its place; None while nothing may."""
        queue, running = places.queue, places.running
        while self._accepting and len(running) < places.limit and len(queue):
            execution = queue.pop(time.monotonic())
            if execution is None:
                self._wake_later(queue.ready_at())
                break
            if not execution.live:
                self._release_key(execution)
                continue
            self._quotas.enter(execution.tenant, execution.job_type, execution.lane)
            self._journal.begin(execution.read.key, execution.execution_id)
            running.add(execution)
            places.busiest = max(places.busiest, len(running))
            return execution
        return None

    async def _run_one_after_another(self, places: _Places) -> None:
        """Run coroutines in one task, each in a context of its own, until one of them waits for something; then another
        task begins the next ones. A task for each job would cost as much as all else about it."""
        this = asyncio.current_task()
        assert this is not None
        turn_ends = time.monotonic() + TURN_S
        try:
            while places.runner is this and (execution := self._next(places)) is not None:
                execution.stop_running = this.cancel
                await self._execute(execution, places)
                while this.cancelling():
                    # That was for an execution that is over; the next one must not hear of it.
                    this.uncancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(0)
                if places.runner is None:
                    places.runner = this
                if time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + TURN_S
        finally:
            if places.runner is this:
                places.runner = None

    def _waits(self) -> None:
        """The coroutine that runs waits for something: let others begin meanwhile."""
        places = self._places["loop"]
        if places.runner is asyncio.current_task(self._loop):
            places.runner = None
            self._fill(places)

    def _leave(self, execution: Execution, places: _Places) -> None:
        places.running.discard(execution)
        self._journal.end(execution.execution_id)
        self._quotas.leave(execution.tenant, execution.job_type, execution.lane)
        self._release_key(execution)
        for each in self._places.values():
            if len(each.queue):
                each.queue.wake(execution.tenant, execution.job_type)
                if each is not places or each.kind != "loop":
                    self._fill(each)

    def _release_key(self, execution: Execution) -> None:
        if execution.ordering_key and (following := self._keys.release(execution)):
            places = self._places_of(following)
            places.queue.put(following)
            self._loop.call_soon(self._fill, places)

    def _wake_later(self, moment: float) -> None:
        if moment < self._wake_at:
            self._wake_at = moment
            self._loop.call_later(max(0.0, moment - time.monotonic()), self._wake_now)

    def _wake_now(self) -> None:
        self._wake_at = math.inf
        for places in self._places.values():
            self._fill(places)

    def _change_quotas(self, change: Callable[[Quotas], None]) -> None:
        change(self._quotas)
        for places in self._places.values():
            places.queue.wake_all()
            self._fill(places)

    def _cancel(self, job_id: str, reason: str) -> None:
        while len(self._cancelled) >= REMEMBERED_CANCELLATIONS:
            del self._cancelled[next(iter(self._cancelled))]
        self._cancelled[job_id] = reason
        for execution in self.running_now():
            if execution.job_id == job_id:
                execution.cancel(reason)

    def _cancel_lost(self) -> None:
        self._keys.forget_dead()
        for places in self._places.values():
            for execution in places.queue.forget_dead():
                self._release_key(execution)
        for execution in self.running_now():
            if not execution.assignment.held:
                execution.cancel("its partition is another worker's now")

    async def _execute(self, execution: Execution, places: _Places) -> None:
        try:
            execution.begin()
            self.facts.append(Started(execution))
            try:
                ended = await self._attempt(execution, places.kind)
            except BaseException as error:
                # SystemExit or KeyboardInterrupt raised by a handler is the job's failure, not the worker's end.
                execution.stop_clock()
                if execution.cancelled and isinstance(error, asyncio.CancelledError):
                    ended = outcome.cancelled(execution.cancelled)
                else:
                    ended = outcome.failed(error)
            # Another attempt could not be in time either.
            if ended is not SUCCEEDED and ended.kind is EventKind.TIMED_OUT and _deadline_passed(execution):
                ended = replace(ended, retryable=False)
            if self._cancelled and execution.job_id in self._cancelled:
                execution.ordered_off = True
            execution.end(ended)
            self.facts.append(Finished(execution))
        finally:
            self._leave(execution, places)

    async def _attempt(self, execution: Execution, runs_on: RunsOn) -> Outcome:
        job_type = self._jobs.get(execution.job_type)
        if job_type is None:
            known = ", ".join(sorted(each.name for each in self._jobs)) or "none"
            text = f"no handler for job type {execution.job_type!r}; this worker knows: {known}"
            return outcome.refused(DeadReason.UNKNOWN_TYPE, UnknownJobType(text))
        if self._cancelled and (reason := self._cancelled.get(execution.job_id)) is not None:
            return outcome.cancelled(reason)
        if execution.read.alike.deadline and _deadline_passed(execution):
            return outcome.timed_out(f"its deadline {execution.read.alike.deadline} passed before it could start")
        if runs_on == "process":
            with attempt_span(execution.read):
                return await self._in_process(job_type, execution)
        return await self._in_this_process(job_type, execution, runs_on)

    async def _in_this_process(self, job_type: JobType, execution: Execution, runs_on: RunsOn) -> Outcome:
        limit_s, silence_s = _timeout_s(job_type, execution), job_type.heartbeat_s
        if job_type.takes_context or silence_s is not None:
            execution.context = JobContext(
                execution.read.request,
                execution.execution_id,
                lambda fraction, text: self._tell_progress(execution, fraction, text),
            )
        try:
            arguments = job_type.arguments(execution.read.payload, execution.context)
        except ValidationError as error:
            return outcome.refused(DeadReason.INVALID_PAYLOAD, error)
        if runs_on == "thread":
            run = self._in_thread(job_type, execution, arguments)
        else:
            run = metered(execution, job_type.handler(*arguments), self._waits)
        too_long = ""
        with attempt_span(execution.read):
            if limit_s is None and silence_s is None:
                await run
            else:
                too_long = await _within(limit_s, silence_s, execution.context, run)
        if too_long:
            execution.call_off()
            return outcome.timed_out(too_long)
        if execution.cancelled and runs_on == "thread":
            return outcome.cancelled(execution.cancelled)
        return SUCCEEDED

    async def _in_thread(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> None:
        ended: asyncio.Future[None] = self._loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                context.run(metered_call, execution, job_type.handler, *arguments)
            except BaseException as error:
                self._settle(ended, error)
            else:
                self._settle(ended, None)

        self._threads.submit(work)
        try:
            await ended
        except asyncio.CancelledError:
            # Its time is over, and nothing can end a thread.
            if ended.cancelled():
                self._threads.replace_stuck(work)
            raise

    async def _in_process(self, job_type: JobType, execution: Execution) -> Outcome:
        limits = Limits(_timeout_s(job_type, execution), job_type.memory_limit_bytes, job_type.heartbeat_s)
        ended: asyncio.Future[None] = self._loop.create_future()
        place = self._idle_processes.pop()
        cancelled = threading.Event()
        execution.stop_running = cancelled.set
        handler = job_type.handler
        task = Task(
            handler.__module__, handler.__qualname__, job_type.name, execution.execution_id, execution.read.request
        )
        result: list[Outcome] = []

        def drive() -> None:
            try:
                answer = place.run(task, limits, cancelled, lambda *said: self._tell_progress(execution, *said))
                execution.stop_clock()
                execution.cpu_ns, execution.rss_bytes = round(answer.cpu_ms * 1e6), answer.peak_rss_bytes
                result.append(answer.outcome)
            except BaseException as error:
                self._settle(ended, error)
            else:
                self._settle(ended, None)

        self._drivers.submit(drive)
        try:
            await ended
        finally:
            self._idle_processes.append(place)
        return result[0]

    def _settle(self, future: asyncio.Future[None], error: BaseException | None) -> None:
        """Finish a future from another thread; one that was given up, or whose loop has ended, needs no answer."""

        def finish() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            elif isinstance(error, StopIteration):
                # A future cannot carry this one.
                future.set_exception(RuntimeError(f"the handler raised {error!r}"))
            else:
                future.set_exception(error)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(finish)

    def _tell_progress(self, execution: Execution, fraction: float, message: str) -> None:
        self.facts.append(Progress(execution, datetime.now(UTC), fraction, message))


async def _within(
    limit_s: float | None, silence_s: float | None, context: JobContext | None, run: Awaitable[None]
) -> str:
    """Why the run was ended, or nothing when it ended by itself; a TimeoutError of its own is raised as it is."""
    loop = asyncio.get_running_loop()
    deadline, silence = asyncio.timeout(limit_s), asyncio.timeout(silence_s)

    def heard() -> None:
        # The run may have ended since it spoke.
        with contextlib.suppress(RuntimeError):
            silence.reschedule(None if silence_s is None else loop.time() + silence_s)

    if context is not None:
        context.on_heartbeat = partial(_call_soon, loop, heard)
    try:
        async with deadline, silence:
            await run
    except TimeoutError:
        if deadline.expired():
            return f"still running after {limit_s:g} s"
        if silence.expired():
            return f"no heartbeat for {silence_s:g} s"
        raise
    return ""


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)


def _deadline_passed(execution: Execution) -> bool:
    deadline = execution.read.alike.deadline
    return deadline is not None and deadline <= datetime.now(UTC)


def _timeout_s(job_type: JobType, execution: Execution) -> float | None:
    """The shortest of what the handler allows, what the request asks for, and what is left until the deadline."""
    asked = execution.read.alike
    limit = job_type.timeout_s
    if asked.timeout_ms is not None:
        limit = min(limit or math.inf, asked.timeout_ms / 1000)
    if asked.deadline is not None:
        limit = min(limit or math.inf, max(0.0, (asked.deadline - datetime.now(UTC)).total_seconds()))
    return limit
