"""How many jobs run at once: as many as the machine and what the jobs call can bear.

A gradient limit, after Netflix's concurrency-limits (Gradient2): run times are compared with their floor, the least
that their job type takes when nothing is in its way. While they are near it the limit grows by its square root; as they
grow the limit shrinks in proportion, at most by half in one step. A host short of memory cuts it at once; a host short
of CPU cuts it back to where it began, because there may be others who use the CPU. Pure.
"""

import math
from collections.abc import Iterable

TOLERANCE = 1.5
SMOOTHING = 0.3
FLOOR_DRIFT = 1.02
CUT = 0.8
HIGH_CPU = 0.95
HIGH_MEMORY = 0.9
LEAST_SAMPLES = 10
FLOOR_MS = 1.0


class AdaptiveLimit:
    """A limit between `least` and `most`. Not thread-safe."""

    def __init__(self, start: int, least: int, most: int) -> None:
        self._least, self._most = least, most
        self._limit = self._start = float(min(max(start, least), most))
        self._floors: dict[str, float] = {}

    @property
    def limit(self) -> int:
        return round(self._limit)

    def update(self, samples: Iterable[tuple[str, float]], busiest: int, cpu: float, memory: float) -> int:
        """The limit after a window of time.

        `samples`: job type and run time in ms of each success. `busiest`: the most jobs that ran at once in it.
        `cpu`, `memory`: use of the host or cgroup, 0 to 1.
        """
        ratios = []
        least: dict[str, float] = {}
        for job_type, run_ms in samples:
            # Below a millisecond the clock and the interpreter are what varies.
            taken = max(run_ms, FLOOR_MS)
            ratios.append(taken / self._floors.get(job_type, taken))
            least[job_type] = min(taken, least.get(job_type, math.inf))
        for job_type, taken in least.items():
            # A floor rises slowly, so that a type whose work has grown for good is not held down for ever.
            self._floors[job_type] = min(taken, self._floors.get(job_type, taken) * FLOOR_DRIFT)
        before = self._limit
        if memory > HIGH_MEMORY:
            self._limit *= CUT
        elif len(ratios) >= LEAST_SAMPLES:
            gradient = min(1.0, max(0.5, TOLERANCE * len(ratios) / sum(ratios)))
            if gradient < 1.0 or 2 * busiest >= self._limit:
                wanted = self._limit * gradient + math.sqrt(self._limit)
                self._limit += SMOOTHING * (wanted - self._limit)
        if cpu > HIGH_CPU:
            self._limit = min(self._limit, max(self._start, before * CUT))
        self._limit = min(max(self._limit, self._least), self._most)
        return self.limit
