"""Limits how often lines of one kind are logged: what anybody may cause must not fill the log."""

import threading
import time
from collections import Counter
from collections.abc import Callable

MOST_KINDS = 1_000


class LineLimit:
    """Allows the first line of a kind at once, then one every `interval_s` seconds, and of all kinds together
    `most` lines in that time. Thread-safe."""

    def __init__(self, interval_s: float = 1.0, most: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._most = most
        self._clock = clock
        self._written_at: dict[object, float] = {}
        self._left_out: Counter[object] = Counter()
        self._since = float("-inf")
        self._written = 0
        self._counting = threading.Lock()

    def admit(self, kind: object) -> int | None:
        """How many lines of this kind were left out since the last one; None when this one is left out too."""
        now = self._clock()
        with self._counting:
            if now - self._since >= self._interval_s:
                self._since, self._written = now, 0
                # Kinds are made of what others send.
                if len(self._written_at) + len(self._left_out) > MOST_KINDS:
                    self._written_at.clear()
                    self._left_out.clear()
            soon = now - self._written_at.get(kind, float("-inf")) < self._interval_s
            if soon or self._written >= self._most:
                if kind in self._left_out or len(self._left_out) < MOST_KINDS:
                    self._left_out[kind] += 1
                return None
            self._written_at[kind] = now
            self._written += 1
            return self._left_out.pop(kind, 0)
