"""How often a line of one kind is logged.

What a record, a broker or a client causes can happen thousands of times a second; its line appears at once and then at
most once in an interval, with the number of those left out.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable

MOST_KINDS = 1_000
"""Kinds that are remembered. A program has some dozens; were a kind made of something foreign, memory stays bounded."""


class LineRate:
    """Decides for each line whether it is written. Thread-safe.

    `interval_s`: the shortest time between two lines of a kind, in seconds. `most`: lines of all kinds together in that
    time, for kinds that others make up; no limit when None.
    """

    def __init__(
        self, interval_s: float, clock: Callable[[], float] = time.monotonic, *, most: int | None = None
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._most = math.inf if most is None else most
        self._written_at: dict[Hashable, float] = {}
        self._left_out: Counter[Hashable] = Counter()
        self._since = float("-inf")
        self._written = 0
        self._counting = threading.Lock()

    def admit(self, kind: Hashable) -> int | None:
        """How many lines of this kind were left out since the last one that was written; None to leave this one out
        too."""
        with self._counting:
            now = self._clock()
            if now - self._since >= self._interval_s:
                self._since, self._written = now, 0
            soon = now - self._written_at.get(kind, float("-inf")) < self._interval_s
            if soon or self._written >= self._most:
                if kind in self._left_out or len(self._left_out) < MOST_KINDS:
                    self._left_out[kind] += 1
                return None
            if len(self._written_at) >= MOST_KINDS:
                self._written_at.clear()
                self._left_out.clear()
            self._written_at[kind] = now
            self._written += 1
            return self._left_out.pop(kind, 0)
