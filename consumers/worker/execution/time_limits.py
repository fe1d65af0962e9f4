"""How long an attempt may run, and noticing one that runs for longer or sends no heartbeat."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.registry import JobType


def deadline_passed(execution: Execution) -> bool:
    """Whether the request has a deadline that is over."""
    deadline_us = execution.read.deadline_us
    return deadline_us is not None and deadline_us <= time.time_ns() // 1000


def timeout_s(job_type: JobType, execution: Execution) -> float | None:
    """The longest run in seconds: the shortest of what the handler allows, what the request asks for, and what is left
    until its deadline. None without any of them."""
    timeout_ms, deadline_us = execution.read.shared.timeout_ms, execution.read.deadline_us
    limit = job_type.timeout_s
    if timeout_ms is not None:
        limit = min(limit or math.inf, timeout_ms / 1000)
    if deadline_us is not None:
        limit = min(limit or math.inf, max(0.0, deadline_us / 1e6 - time.time()))
    return limit


class TimeLimits:
    """Watches one run on the event loop. Calls `exceeded` with the reason once it has run for `limit_s` seconds, or
    once `silence_s` seconds have passed since its start or its context's latest heartbeat; None for no limit."""

    def __init__(
        self,
        limit_s: float | None,
        silence_s: float | None,
        context: JobContext | None,
        exceeded: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._silence_s = silence_s
        self._exceeded = exceeded
        self._limit: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        if limit_s is not None:
            self._limit = self._loop.call_later(limit_s, exceeded, f"still running after {limit_s:g} s")
        if silence_s is not None and context is not None:
            self._wait_for_heartbeat()
            context.on_heartbeat = self._on_heartbeat

    def stop(self) -> None:
        """The run has ended. Called once."""
        if self._limit is not None:
            self._limit.cancel()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _on_heartbeat(self) -> None:
        # A function that is left in its thread may outlive the loop.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._extend)

    def _extend(self) -> None:
        # The run may have ended since its heartbeat.
        if self._silence is not None:
            self._silence.cancel()
            self._wait_for_heartbeat()

    def _wait_for_heartbeat(self) -> None:
        assert self._silence_s is not None
        reason = f"no heartbeat for {self._silence_s:g} s"
        self._silence = self._loop.call_later(self._silence_s, self._exceeded, reason)
