"""One attempt of one job in the test's process, by the worker's own code for attempts and their limits."""

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.execution.attempt import AttemptRunner
from millstream.consumers.worker.execution.cancellations import Cancellations
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.registry import JobType, JobTypes, RunsOn
from millstream.consumers.worker.execution.runners import LoopRunner, ThreadRunner
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
        cancellations = Cancellations()
        if self._cancel_after_s == 0:
            cancellations.add(execution.job_id, CANCELLED_BY_TEST)
        on_loop = job_type is not None and inspect.iscoroutinefunction(job_type.handler)
        runs_on: RunsOn = "loop" if on_loop else "thread"
        threads = _RecordingThreadRunner(self._context, loop)
        jobs = _GivenJobTypes(known if job_type is None else [self._observed(job_type)])
        attempts = AttemptRunner(jobs, cancellations, {"loop": _RecordingLoopRunner(self._context), "thread": threads})
        execution.begin()
        task = asyncio.create_task(attempts.run(execution, runs_on), context=contextvars.Context())
        if on_loop:
            execution.stop_running = lambda: loop.call_soon_threadsafe(task.cancel)
        timer = loop.call_later(self._cancel_after_s, self._cancel) if self._cancel_after_s else None
        try:
            await task
            await self._handler_has_returned()
        finally:
            threads.stop()
            if timer is not None:
                timer.cancel()
        if (caller := asyncio.current_task()) is not None and caller.cancelling():
            raise asyncio.CancelledError
        return self._result()

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

        def call(*arguments: Any) -> None:
            with self._observe():
                handler(*arguments)

        async def call_async(*arguments: Any) -> None:
            with self._observe():
                await handler(*arguments)

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
        """Wait for a plain function that was timed out: nothing can end a thread."""
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
    def __init__(self, context: RecordingContext) -> None:
        super().__init__(lambda *_: None, lambda: None)
        self._recorder = context

    def _context(self, execution: Execution) -> JobContext:
        return self._recorder


class _RecordingThreadRunner(ThreadRunner):
    def __init__(self, context: RecordingContext, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(lambda *_: None, loop, threads=1)
        self._recorder = context

    def _context(self, execution: Execution) -> JobContext:
        return self._recorder


class _GivenJobTypes(JobTypes):
    def __init__(self, job_types: Iterable[JobType]) -> None:
        super().__init__()
        self._types.update({each.name: each for each in job_types})
