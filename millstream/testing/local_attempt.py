"""One attempt of one job in the test's process. The steps, their order and the limits are those of a worker."""

import asyncio
import contextlib
import contextvars
import inspect
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.registry import JobType
from millstream.schemas import DeadReason, EventKind, JobRequest
from millstream.testing.context import RecordingContext
from millstream.testing.result import HandlerResult

STOP_GRACE_S = 1.0
"""How long a plain function may go on after it was timed out, before the test goes on without it."""

CANCELLED_BY_TEST = "cancelled by the test"

E = TypeVar("E", bound=BaseException)


class NoHandler(LookupError):
    """No handler of this test has the job type."""


class LocalAttempt:
    """Runs a request once."""

    def __init__(
        self, request: JobRequest, cancel_after_s: float | None = None, cancel_at_progress: float | None = None
    ) -> None:
        self._request = request
        self._context = RecordingContext(request)
        self._cancel_after_s = cancel_after_s
        self._cancel_at_progress = cancel_at_progress
        self._cancelled = False
        self._error: BaseException | None = None
        self._still_running = False

    async def run(self, job_type: JobType | None) -> HandlerResult:
        """`job_type` is None for a request whose type has no handler."""
        began = time.perf_counter()
        task = asyncio.create_task(self._outcome(job_type), context=contextvars.Context())
        ended = await task
        if (caller := asyncio.current_task()) is not None and caller.cancelling():
            raise asyncio.CancelledError
        if ended.kind is EventKind.TIMED_OUT and self._deadline_passed():
            # Another attempt could not be in time either.
            ended = replace(ended, retryable=False)
        context = self._context
        return HandlerResult(
            request=self._request,
            outcome=ended,
            error=self._error,
            run_ms=(time.perf_counter() - began) * 1000,
            progress=tuple(context.progress_calls),
            heartbeats=context.heartbeats,
            log=tuple(context.log_lines),
            still_running=self._still_running,
        )

    async def _outcome(self, job_type: JobType | None) -> Outcome:
        if job_type is None:
            error = NoHandler(f"no handler for job type {self._request.job_type!r}")
            return outcome.refused(DeadReason.UNKNOWN_TYPE, error)
        if self._cancel_after_s == 0:
            return outcome.cancelled(CANCELLED_BY_TEST)
        if self._deadline_passed():
            return outcome.timed_out(f"its deadline {self._request.deadline} passed before it could start")
        try:
            arguments = job_type.arguments(self._request.payload, self._context)
        except ValidationError as error:
            return outcome.refused(DeadReason.INVALID_PAYLOAD, _without_own_frames(error))
        try:
            return await self._run(job_type, arguments)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt too are the failure of the job.
            if self._cancelled and isinstance(error, asyncio.CancelledError):
                return outcome.cancelled(CANCELLED_BY_TEST)
            self._error = _without_own_frames(error)
            return outcome.failed(self._error)

    async def _run(self, job_type: JobType, arguments: tuple[Any, ...]) -> Outcome:
        in_loop = inspect.iscoroutinefunction(job_type.handler)
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            self._cancelled = self._context.cancelled = True
            if in_loop:
                loop.call_soon_threadsafe(task.cancel)

        def cancel_at_progress() -> None:
            at = self._cancel_at_progress
            if at is not None and not self._cancelled and self._context.progress_calls[-1].fraction >= at:
                cancel()

        self._context.on_call = cancel_at_progress
        timer = None if self._cancel_after_s is None else loop.call_later(self._cancel_after_s, cancel)
        handler_run = job_type.handler(*arguments) if in_loop else self._in_thread(job_type.handler, arguments)
        try:
            exceeded = await self._within(_time_limit_s(job_type, self._request), job_type.heartbeat_s, handler_run)
        finally:
            if timer is not None:
                timer.cancel()
        if exceeded:
            self._context.cancelled = True
            return outcome.timed_out(exceeded)
        if self._cancelled and not in_loop:
            return outcome.cancelled(CANCELLED_BY_TEST)
        return SUCCEEDED

    async def _within(self, limit_s: float | None, silence_s: float | None, run: Awaitable[None]) -> str:
        """Which limit was exceeded; empty when the handler returned before. Its own TimeoutError is raised as it is."""
        loop = asyncio.get_running_loop()
        limit, silence = asyncio.timeout(limit_s), asyncio.timeout(silence_s)

        def alive() -> None:
            # The run may have ended since the heartbeat.
            with contextlib.suppress(RuntimeError):
                silence.reschedule(None if silence_s is None else loop.time() + silence_s)

        def on_heartbeat() -> None:
            # A function that goes on after its time limit may outlive the test's loop.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(alive)

        self._context.on_heartbeat = on_heartbeat
        try:
            async with limit, silence:
                await run
        except TimeoutError:
            if limit.expired():
                return f"still running after {limit_s:g} s"
            if silence.expired():
                return f"no heartbeat for {silence_s:g} s"
            raise
        return ""

    async def _in_thread(self, handler: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        errors: list[BaseException] = []
        context = contextvars.copy_context()

        def work() -> None:
            try:
                context.run(handler, *arguments)
            except StopIteration as error:
                errors.append(RuntimeError(f"the handler raised {error!r}"))
            except BaseException as error:
                errors.append(error)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=work, name="millstream-test-handler", daemon=True).start()
        try:
            await ended.wait()
        except asyncio.CancelledError:
            # Nothing can end a thread; the handler is asked to return.
            self._context.cancelled = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), STOP_GRACE_S)
            self._still_running = not ended.is_set()
            raise
        if errors:
            raise errors[0]

    def _deadline_passed(self) -> bool:
        deadline = self._request.deadline
        return deadline is not None and deadline <= datetime.now(UTC)


def _time_limit_s(job_type: JobType, request: JobRequest) -> float | None:
    """The shortest of what the job type allows, what the request asks for, and what is left until the deadline."""
    limits = [math.inf if job_type.timeout_s is None else job_type.timeout_s]
    if request.timeout_ms is not None:
        limits.append(request.timeout_ms / 1000)
    if request.deadline is not None:
        limits.append(max(0.0, (request.deadline - datetime.now(UTC)).total_seconds()))
    shortest = min(limits)
    return None if shortest == math.inf else shortest


def _without_own_frames(error: E) -> E:
    """The error with a traceback that begins after this module, so that fingerprint and stack are those of a worker."""
    frame = error.__traceback__
    while frame and frame.tb_frame.f_globals.get("__name__") == __name__:
        frame = frame.tb_next
    return error.with_traceback(frame)
