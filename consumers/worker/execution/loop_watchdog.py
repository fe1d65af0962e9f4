"""Whether the event loop goes round: a coroutine that blocks its thread stops those of every tenant."""

import asyncio
import sys
import threading
import time
import traceback

from millstream.consumers.worker.execution.metering import Spender, metered

BEAT_S = 0.1
UNSEEN_S = 1.0
"""Who does not look for so long stood still itself, perhaps with the whole process: not the loop's doing."""


class LoopWatchdog:
    """The loop's thread beats; one other thread looks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        self._loop = loop
        self._thread = thread
        self._beat_at = self._looked_at = time.monotonic()

    def beat(self) -> None:
        """Called in the loop's thread, once: it goes on by itself."""
        self._beat_at = time.monotonic()
        self._loop.call_later(BEAT_S, self.beat)

    def late_s(self) -> float:
        """For how many seconds the loop has been blocked, as far as the looking thread could see."""
        now = time.monotonic()
        if now - self._looked_at > UNSEEN_S:
            self._beat_at = max(self._beat_at, now)
        self._looked_at = now
        return max(0.0, now - self._beat_at - BEAT_S)

    def driven(self) -> tuple[Spender | None, str]:
        """Whose coroutine the loop's thread drives at this moment, None when that is not known, and where it is."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        while frame and frame.f_code is not metered.__code__:
            frame = frame.f_back
        return (frame.f_locals["spender"] if frame else None), stack
