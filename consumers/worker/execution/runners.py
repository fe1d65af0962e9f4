"""The three ways to run a handler: on the event loop, in a thread, in a child process.

Each is awaited on the event loop. What a handler raises is raised to the caller, who decides the outcome; only what a
handler cannot raise itself, such as a time limit, is returned.
"""

import asyncio
import contextvars
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol

from pydantic import ValidationError

from millstream.consumers.threads import ThreadPool
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.metering import metered, metered_call
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.process_child import ProcessTask
from millstream.consumers.worker.execution.process_pool import ProcessLimits, ProcessSlot
from millstream.consumers.worker.execution.registry import JobType
from millstream.consumers.worker.execution.time_limits import run_within, timeout_s
from millstream.consumers.worker.execution.tracing import attempt_span
from millstream.schemas import DeadReason

OnProgress = Callable[[Execution, float, str], None]


class Runner(Protocol):
    """Runs one attempt's handler to its end."""

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        """Returns once the handler has ended or was ended. Raises what the handler raises, and `CancelledError` when
        the execution was cancelled while it ran."""

    def stop(self) -> None:
        """Release threads and processes. Called once, from another thread, when nothing is started any more."""


class _InProcess(ABC):
    """What the event loop's and the threads' runners share: context, arguments, span and time limits."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        limit_s, silence_s = timeout_s(job_type, execution), job_type.heartbeat_s
        if job_type.takes_context or silence_s is not None:
            execution.context = self._context(execution)
        try:
            arguments = job_type.arguments(execution.read.payload, execution.context)
        except ValidationError as error:
            return outcome.rejected(DeadReason.INVALID_PAYLOAD, error)
        run = self._call(job_type, execution, arguments)
        with attempt_span(execution.read):
            if limit_s is None and silence_s is None:
                await run
            elif too_long := await run_within(limit_s, silence_s, execution.context, run):
                execution.signal_cancelled()
                return outcome.timed_out(too_long)
        return self._ended(execution)

    def _context(self, execution: Execution) -> JobContext:
        return JobContext(
            execution.read.request,
            execution.execution_id,
            lambda fraction, text: self._on_progress(execution, fraction, text),
        )

    @abstractmethod
    def _call(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> Awaitable[None]:
        """Call the handler; what is returned ends with it."""

    def _ended(self, execution: Execution) -> Outcome:
        return SUCCEEDED


class LoopRunner(_InProcess):
    """Coroutines on the event loop. `on_first_wait` is called when one waits for the first time."""

    def __init__(self, on_progress: OnProgress, on_first_wait: Callable[[], None]) -> None:
        super().__init__(on_progress)
        self._on_first_wait = on_first_wait

    def _call(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> Awaitable[None]:
        return metered(execution, job_type.handler(*arguments), self._on_first_wait)

    def stop(self) -> None:
        """Nothing to release: the loop is the executor's."""


class ThreadRunner(_InProcess):
    """Plain functions in a pool of threads. Nothing can end a thread: one whose time is over is replaced."""

    def __init__(self, on_progress: OnProgress, loop: asyncio.AbstractEventLoop, threads: int) -> None:
        super().__init__(on_progress)
        self._loop = loop
        self._threads = ThreadPool(threads, "millstream-thread")

    async def _call(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> None:
        ended: asyncio.Future[None] = self._loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            error: BaseException | None = None
            try:
                context.run(metered_call, execution, job_type.handler, *arguments)
            except BaseException as raised:
                error = raised
            _settle(self._loop, ended, error)

        self._threads.submit(work)
        try:
            await ended
        except asyncio.CancelledError:
            # A handler may raise CancelledError too; only if the future itself was cancelled is the thread still busy.
            if ended.cancelled():
                self._threads.replace_stuck(work)
            raise

    def _ended(self, execution: Execution) -> Outcome:
        # A function that saw its context say so returned early, or ran on although it was cancelled.
        return outcome.cancelled(execution.cancelled) if execution.cancelled else SUCCEEDED

    def stop(self) -> None:
        self._threads.stop()


class ProcessRunner:
    """Handlers in child processes, one job at a time in each. A thread for each slot waits for its child."""

    def __init__(self, on_progress: OnProgress, loop: asyncio.AbstractEventLoop, processes: int) -> None:
        self._on_progress = on_progress
        self._loop = loop
        self._waiting_threads = ThreadPool(processes, "millstream-process")
        self._slots = [ProcessSlot() for _ in range(processes)]
        self._idle = self._slots.copy()

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        limits = ProcessLimits(timeout_s(job_type, execution), job_type.memory_limit_bytes, job_type.heartbeat_s)
        handler = job_type.handler
        task = ProcessTask(
            handler.__module__, handler.__qualname__, job_type.name, execution.execution_id, execution.read.request
        )
        ended: asyncio.Future[None] = self._loop.create_future()
        slot = self._idle.pop()
        cancelled = threading.Event()
        execution.stop_running = cancelled.set
        result: list[Outcome] = []

        def wait() -> None:
            error: BaseException | None = None
            try:
                answer = slot.run(task, limits, cancelled, lambda *said: self._on_progress(execution, *said))
                execution.stop_clock()
                execution.cpu_ns, execution.rss_bytes = round(answer.cpu_ms * 1e6), answer.peak_rss_bytes
                result.append(answer.outcome)
            except BaseException as raised:
                error = raised
            _settle(self._loop, ended, error)

        with attempt_span(execution.read):
            self._waiting_threads.submit(wait)
            try:
                await ended
            finally:
                self._idle.append(slot)
        return result[0]

    def stop(self) -> None:
        for slot in self._slots:
            slot.kill()
        self._waiting_threads.stop()


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], error: BaseException | None) -> None:
    """Finish a future from another thread, unless it was cancelled or its loop has ended meanwhile."""

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

    if not loop.is_closed():
        loop.call_soon_threadsafe(finish)
