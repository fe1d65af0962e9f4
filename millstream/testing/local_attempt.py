"""One attempt of one job in the test's process, by the worker's own code for attempts and their limits."""

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.attempt import AttemptRunner
from millstream.consumers.worker.execution.cancellations import Cancellation, Cancellations
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.consumers.worker.execution.registry import JobType, JobTypes, RunsOn
from millstream.consumers.worker.execution.runners import LoopRunner, ThreadCall, ThreadRunner
from millstream.consumers.worker.execution.stopping import Stopping
from millstream.schemas import Codec, EventKind, JobRequest, RequestReader
from millstream.testing.context import RecordingContext
from millstream.testing.result import HandlerResult

STOP_GRACE_S = 1.0
"""How long a plain function may go on after it was timed out, before the test goes on without it."""

CANCELLED_BY_TEST = "cancelled by the test"

CODEC = Codec()


class LocalAttempt:
    """Runs a request once, on the event loop that `run` is awaited on or in a thread."""

    def __init__(
        self, request: JobRequest, cancel_after_s: float | None = None, cancel_at_progress: float | None = None
    ) -> None:
        value = CODEC.encode(request)
        read = RequestReader(CODEC).read(value)
        self._execution = Execution(Assignment(request.lane, 0, request.lane), 0, value, read)
        self._context = RecordingContext(read.request)
        self._context.on_call = self._cancel_at_progress
        self._cancel_after_s = cancel_after_s
        self._cancel_at = cancel_at_progress
        self._error: BaseException | None = None
        self._running = False

    async def run(self, job_type: JobType | None, known: Iterable[JobType] = ()) -> HandlerResult:
        """`job_type` is None for a request whose type is none of the `known`. Raises only `CancelledError`."""
        loop, execution = asyncio.get_running_loop(), self._execution
        self._left = loop.create_future()
        cancellations = Cancellations()
        if self._cancel_after_s == 0:
            cancellations.add(execution.job_id, Cancellation(CANCELLED_BY_TEST))
        on_loop = job_type is not None and inspect.iscoroutinefunction(job_type.handler)
        runs_on: RunsOn = "loop" if on_loop else "thread"
        stopping = Stopping(loop, self._leave_behind)
        threads = _RecordingThreadRunner(self._context, stopping, loop)
        jobs = _GivenJobTypes(known if job_type is None else [self._observed(job_type)])
        self._attempts = AttemptRunner(
            jobs, cancellations, {"loop": _RecordingLoopRunner(self._context, stopping), "thread": threads}
        )
        execution.on_cancel = lambda each: loop.call_soon_threadsafe(
            stopping.stop, each, outcome.cancelled(each.cancelled)
        )
        execution.begin()
        timer = loop.call_later(self._cancel_after_s, self._cancel) if self._cancel_after_s else None
        try:
            while execution.outcome is None:
                await self._attempt(runs_on)
            await self._handler_has_returned()
        finally:
            threads.stop()
            if timer is not None:
                timer.cancel()
        return self._result()

    async def _attempt(self, runs_on: RunsOn) -> None:
        """Run the handler once: to its end, or until it is left behind. Without an outcome it is to run again."""
        execution = self._execution
        task = asyncio.create_task(self._attempts.run(execution, runs_on), context=contextvars.Context())
        execution.stop_running = task.cancel
        try:
            await asyncio.wait([task, self._left], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        if execution.outcome is not None:
            return
        ended = task.result()
        if isinstance(ended, Outcome):
            self._attempts.conclude(execution, ended)
        else:
            on_cancel = execution.on_cancel
            execution.wait_again()
            execution.on_cancel = on_cancel
            execution.begin_again()

    def _leave_behind(self, execution: Execution) -> bool:
        assert execution.ends_as is not None
        self._attempts.conclude(execution, execution.ends_as)
        if execution.on_left_behind is not None:
            execution.on_left_behind()
        self._left.set_result(None)
        return True

    def _result(self) -> HandlerResult:
        execution, context = self._execution, self._context
        assert execution.outcome
        return HandlerResult(
            request=execution.read.request,
            outcome=execution.outcome,
            error=self._error if execution.outcome.kind is EventKind.FAILED else None,
            run_ms=execution.run_ms,
            progress=tuple(context.progress_calls),
            heartbeats=context.heartbeats,
            log=tuple(context.log_lines),
            still_running=self._running,
        )

    def _observed(self, job_type: JobType) -> JobType:
        """The job type, with a handler that notes what it raises and when it returns."""
        handler = job_type.handler

        def call(*arguments: Any) -> Any:
            with self._observe():
                returned = handler(*arguments)
            return observed(returned) if inspect.isawaitable(returned) else returned

        async def observed(run: Awaitable[Any]) -> Any:
            with self._observe():
                return await run

        async def call_async(*arguments: Any) -> Any:
            return await observed(handler(*arguments))

        return replace(job_type, handler=call_async if inspect.iscoroutinefunction(handler) else call)

    @contextlib.contextmanager
    def _observe(self) -> Iterator[None]:
        self._running = True
        try:
            yield
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._running = False

    async def _handler_has_returned(self) -> None:
        """Wait for a handler that goes on after its time-out: nothing can end a thread."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                while self._running:  # noqa: ASYNC110 (the thread outlives a loop that it would have to notify)
                    await asyncio.sleep(0.005)

    def _cancel(self) -> None:
        self._execution.cancel(CANCELLED_BY_TEST)

    def _cancel_at_progress(self) -> None:
        at = self._cancel_at
        if at is not None and not self._execution.cancelled and self._context.progress_calls[-1].fraction >= at:
            self._cancel()


class _RecordingLoopRunner(LoopRunner):
    def __init__(self, context: RecordingContext, stopping: Stopping) -> None:
        super().__init__(_ignore_progress, stopping.stop, lambda: None)
        self._recorder = context

    def _context(self, execution: Execution) -> JobContext:
        return self._recorder


class _RecordingThreadRunner(ThreadRunner):
    def __init__(self, context: RecordingContext, stopping: Stopping, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_ignore_progress, stopping.stop, loop, threads=1)
        self._recorder = context

    def _context(self, execution: Execution) -> JobContext:
        return self._recorder

    def _leave_behind(self, execution: Execution, call: ThreadCall[object]) -> None:
        super()._leave_behind(execution, call)
        # The event loop of a test waits for every task before it closes.
        call.abandon()


def _ignore_progress(execution: Execution, fraction: float, text: str) -> None:
    """The context has recorded it."""


class _GivenJobTypes(JobTypes):
    def __init__(self, job_types: Iterable[JobType]) -> None:
        super().__init__()
        self._types.update({each.name: each for each in job_types})
