"""Detects a blocked event loop: a coroutine that blocks its thread stops those of every tenant."""

import asyncio
import sys
import threading
import time
import traceback

from millstream.consumers.worker.execution.current_job import Attempt
from millstream.consumers.worker.execution.metering import metered

TICK_S = 0.1
UNCHECKED_S = 1.0
"""A checking thread that pauses for longer was suspended itself, perhaps with the whole process: then the loop is not
considered late."""


class LoopWatchdog:
    """The loop's thread ticks; one other thread checks how long ago."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        self._loop = loop
        self._thread = thread
        self._ticked_at = self._checked_at = time.monotonic()

    def tick(self) -> None:
        """Called once in the loop's thread; it repeats itself."""
        self._ticked_at = time.monotonic()
        self._loop.call_later(TICK_S, self.tick)

    def late_s(self) -> float:
        """For how many seconds the loop has been blocked. Called by the checking thread, several times a second."""
        now = time.monotonic()
        if now - self._checked_at > UNCHECKED_S:
            self._ticked_at = max(self._ticked_at, now)
        self._checked_at = now
        return max(0.0, now - self._ticked_at - TICK_S)

    def blocking_coroutine(self) -> tuple[Attempt | None, str]:
        """The execution whose coroutine the loop's thread is running, None when unknown, and the stack of that
        thread."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        while frame and frame.f_code is not metered.__code__:
            frame = frame.f_back
        return (frame.f_locals["consumer"] if frame else None), stack
