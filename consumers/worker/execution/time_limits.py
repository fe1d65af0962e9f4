"""How long an attempt may run, and ending one that runs for longer or sends no heartbeat."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable
from datetime import UTC, datetime

from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.registry import JobType


def deadline_passed(execution: Execution) -> bool:
    """Whether the request has a deadline that is over."""
    deadline = execution.read.template.deadline
    return deadline is not None and deadline <= datetime.now(UTC)


def timeout_s(job_type: JobType, execution: Execution) -> float | None:
    """The longest run in seconds: the shortest of what the handler allows, what the request asks for, and what is left
    until its deadline. None without any of them."""
    request = execution.read.template
    limit = job_type.timeout_s
    if request.timeout_ms is not None:
        limit = min(limit or math.inf, request.timeout_ms / 1000)
    if request.deadline is not None:
        limit = min(limit or math.inf, max(0.0, (request.deadline - datetime.now(UTC)).total_seconds()))
    return limit


async def run_within(
    limit_s: float | None, silence_s: float | None, context: JobContext | None, run: Awaitable[None]
) -> str:
    """Await `run`, for at most `limit_s` seconds, and at most `silence_s` seconds after a heartbeat of its context.

    Returns why it was ended, or "" when it ended by itself. What it raises is raised, a `TimeoutError` of its own too.
    """
    loop = asyncio.get_running_loop()
    limit, silence = asyncio.timeout(limit_s), asyncio.timeout(silence_s)

    def extend() -> None:
        # The run may have ended since its heartbeat.
        with contextlib.suppress(RuntimeError):
            silence.reschedule(None if silence_s is None else loop.time() + silence_s)

    def on_heartbeat() -> None:
        loop.call_soon_threadsafe(extend)

    if context is not None:
        context.on_heartbeat = on_heartbeat
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
