"""The three ways to run a handler: on the event loop, in a thread, in a child process.

Each is awaited on the event loop. What a handler raises is raised to the caller, who decides the outcome; only what a
handler cannot raise itself, such as a time limit, is returned.
"""

import asyncio
import contextlib
import contextvars
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from pydantic import ValidationError

from millstream.consumers.threads import ThreadPool, ThreadUnavailable
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.current_job import current_attempt
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.metering import count_until_now, metered, metered_call
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.process_child import ChildSetup, ProcessTask, TaskAnswer
from millstream.consumers.worker.execution.process_pool import ChildUnavailable, ProcessLimits, ProcessSlot
from millstream.consumers.worker.execution.registry import JobType
from millstream.consumers.worker.execution.returned import awaited, still_to_run
from millstream.consumers.worker.execution.time_limits import TimeLimits, timeout_s
from millstream.consumers.worker.execution.tracing import attempt_span
from millstream.schemas import DeadReason

T = TypeVar("T")
OnProgress = Callable[[Execution, float, str], None]
Stop = Callable[[Execution, Outcome], None]


class NotStarted(RuntimeError):
    """The host cannot start a thread or a process now. The handler was not called."""


class Runner(Protocol):
    """Runs one attempt's handler to its end."""

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        """Returns once the handler has ended. Raises what the handler raises, `CancelledError` when it was cancelled
        while it ran, and `NotStarted`."""

    def stop(self) -> None:
        """Release threads and processes. Called once, from another thread, when nothing is started any more."""


class _InProcess(ABC):
    """What the event loop's and the threads' runners share: context, arguments, span and time limits.

    `stop` asks an execution to stop when its time is over. `on_first_wait` is called on the event loop when a coroutine
    waits for the first time.
    """

    def __init__(self, on_progress: OnProgress, stop: Stop, on_first_wait: Callable[[], None]) -> None:
        self._on_progress = on_progress
        self._stop = stop
        self._on_first_wait = on_first_wait

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        limit_s, silence_s = timeout_s(job_type, execution), job_type.heartbeat_s
        if job_type.takes_context or silence_s is not None:
            execution.context = self._context(execution)
        try:
            arguments = job_type.arguments(execution.read.payload, execution.context)
        except ValidationError as error:
            return outcome.rejected(DeadReason.INVALID_PAYLOAD, error)
        limits = None
        if limit_s is not None or silence_s is not None:
            limits = TimeLimits(limit_s, silence_s, execution.context, partial(self._timed_out, execution))
        try:
            with attempt_span(execution.read):
                returned = await self._call(job_type, execution, arguments)
                while returned is not None and (run := still_to_run(returned)) is not None:
                    returned = await metered(execution, awaited(run), self._on_first_wait)
        finally:
            if limits is not None:
                limits.stop()
        return SUCCEEDED

    def _timed_out(self, execution: Execution, reason: str) -> None:
        self._stop(execution, outcome.timed_out(reason))

    def _context(self, execution: Execution) -> JobContext:
        return JobContext(
            execution.read.request,
            execution.execution_id,
            lambda fraction, text: self._on_progress(execution, fraction, text),
        )

    @abstractmethod
    def _call(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> Awaitable[object]:
        """Call the handler; what it returns."""


class LoopRunner(_InProcess):
    """Coroutines on the event loop."""

    def _call(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> Awaitable[object]:
        return metered(execution, job_type.handler(*arguments), self._on_first_wait)

    def stop(self) -> None:
        """Nothing to release: the loop is the executor's."""


class ThreadRunner(_InProcess):
    """Plain functions in a pool of threads. Nothing can end a thread: one that does not stop is replaced."""

    def __init__(self, on_progress: OnProgress, stop: Stop, loop: asyncio.AbstractEventLoop, threads: int) -> None:
        # A coroutine that the function returns waits in a task of its own.
        super().__init__(on_progress, stop, lambda: None)
        self._loop = loop
        self._threads = ThreadPool(threads, "millstream-thread")

    async def _call(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> object:
        context = contextvars.copy_context()
        context.run(current_attempt.set, execution)
        call = ThreadCall(self._loop, partial(context.run, metered_call, execution, job_type.handler, *arguments))
        _submit(self._threads, call)
        execution.on_left_behind = partial(self._leave_behind, execution, call)
        return await call.returned()

    def _leave_behind(self, execution: Execution, call: "ThreadCall[object]") -> None:
        # The thread does not end before it is replaced.
        count_until_now(execution)
        self._threads.replace_stuck(call)

    def stop(self) -> None:
        self._threads.stop()


class ProcessRunner:
    """Handlers in child processes, one job at a time in each. A thread for each slot waits for its child.

    `set_up` is called in each child before its first job.
    """

    def __init__(
        self,
        on_progress: OnProgress,
        loop: asyncio.AbstractEventLoop,
        processes: int,
        set_up: ChildSetup | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._loop = loop
        self._waiting_threads = ThreadPool(processes, "millstream-process")
        self._slots = [ProcessSlot(set_up) for _ in range(processes)]
        self._idle = self._slots.copy()

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        limits = ProcessLimits(timeout_s(job_type, execution), job_type.memory_limit_bytes, job_type.heartbeat_s)
        handler = job_type.handler
        task = ProcessTask(
            handler.__module__, handler.__qualname__, job_type.name, execution.execution_id, execution.read.request
        )
        slot = self._idle.pop()
        cancelled = threading.Event()
        execution.stop_running = cancelled.set

        def wait() -> TaskAnswer:
            answer = slot.run(
                task, limits, cancelled, lambda *said: self._on_progress(execution, *said), execution.restart_clock
            )
            execution.stop_clock()
            return answer

        call = ThreadCall(self._loop, wait)
        with attempt_span(execution.read):
            try:
                _submit(self._waiting_threads, call)
                answer = await call.returned()
            except ChildUnavailable as error:
                raise NotStarted(str(error)) from error
            finally:
                self._idle.append(slot)
        execution.cpu_ns, execution.rss_bytes = round(answer.cpu_ms * 1e6), answer.peak_rss_bytes
        return answer.outcome

    def stop(self) -> None:
        for slot in self._slots:
            slot.kill()
        self._waiting_threads.stop()


class ThreadCall(Generic[T]):
    """A function that runs in a thread, awaited on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> None:
        self._loop = loop
        self._function = function
        self._ended = loop.create_future()
        self._result: list[T] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        """Call the function. Called by the thread."""
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)

    async def returned(self) -> T:
        """What the function returned; raises what it raised. Waits until it has ended although the waiting task is
        cancelled: nothing can end a thread, and its slot must not be given away by another job's cancellation."""
        while not self._result and self._error is None:
            try:
                await self._ended
            except asyncio.CancelledError:
                self._ended = self._loop.create_future()
        if isinstance(self._error, StopIteration):
            # A coroutine cannot raise this one.
            raised = RuntimeError(f"the handler raised {self._error!r}")
            raise raised.with_traceback(self._error.__traceback__) from self._error
        if self._error is not None:
            raise self._error
        return self._result[0]

    def abandon(self) -> None:
        """Let `returned` raise `TimeoutError` now, although the function goes on. Called on the event loop."""
        self._error = TimeoutError("the function goes on in its thread")
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _submit(threads: ThreadPool, call: Callable[[], None]) -> None:
    try:
        threads.submit(call)
    except ThreadUnavailable as error:
        raise NotStarted(str(error)) from error
