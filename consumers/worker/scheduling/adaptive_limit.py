"""How many jobs run at once: as many as the machine and the services that the jobs call can serve.

A gradient limit, after Netflix's concurrency-limits (Gradient2): the usual run time of a job type, the median of its
latest successes, is compared with its floor, the median without contention. Medians and not minimum
or mean times, because some jobs of a type end at once and some take ten times as long however idle the machine is.
While they are near the floor the limit grows by its square root; as they grow the limit shrinks in proportion, at most
by half in one step. A host short of memory cuts it at once; a host short of CPU cuts it back to where it began, because
there may be others who use the CPU. Pure.
"""

import math
from collections.abc import Iterable
from statistics import median

TOLERANCE = 1.5
SMOOTHING = 0.3
FLOOR_RISE = 1.005
"""A floor rises by this in a window, so that a type whose work has become longer is not limited for ever."""

FLOOR_FALL = 0.2
"""Share of the way to a lower median that a floor falls: one fast window alone does not set it."""

CUT = 0.8
HIGH_CPU = 0.95
HIGH_MEMORY = 0.9
LEAST_SAMPLES = 30
"""Successes of a type that make a median; fewer are kept for the next window."""

FLOOR_MS = 1.0
"""Below a millisecond the clock and the interpreter dominate the variation."""


class AdaptiveLimit:
    """A limit between `least` and `most`, which are extended to `start`. Not thread-safe."""

    def __init__(self, start: int, least: int, most: int) -> None:
        self._least, self._most = min(start, least), max(start, most)
        self._limit = self._start = float(start)
        self._latest: dict[str, list[float]] = {}
        self._floors: dict[str, float] = {}

    @property
    def limit(self) -> int:
        return round(self._limit)

    def update(self, samples: Iterable[tuple[str, float]], busiest: int, cpu: float, memory: float) -> int:
        """The limit after a window of time.

        `samples`: job type and run time in ms of each success among the jobs that the limit applies to; a failure
        takes less or more time than the work. `busiest`: the most jobs that ran at once in it.
        `cpu`, `memory`: use of the host or cgroup, 0 to 1.
        """
        slowdown = self._slowdown(samples)
        before = self._limit
        if memory > HIGH_MEMORY:
            self._limit *= CUT
        elif slowdown is not None:
            gradient = min(1.0, max(0.5, TOLERANCE / slowdown))
            if gradient < 1.0 or 2 * busiest >= self._limit:
                wanted = self._limit * gradient + math.sqrt(self._limit)
                self._limit += SMOOTHING * (wanted - self._limit)
        if cpu > HIGH_CPU:
            self._limit = min(self._limit, max(self._start, before * CUT))
        self._limit = min(max(self._limit, self._least), self._most)
        return self.limit

    def _slowdown(self, samples: Iterable[tuple[str, float]]) -> float | None:
        """Run time relative to the floor, over the types with enough successes; None when no type has."""
        for job_type, run_ms in samples:
            self._latest.setdefault(job_type, []).append(run_ms)
        jobs, taken = 0, 0.0
        for job_type in [name for name, times in self._latest.items() if len(times) >= LEAST_SAMPLES]:
            times = self._latest.pop(job_type)
            usual = max(median(times), FLOOR_MS)
            floor = self._floors.get(job_type, usual)
            jobs += len(times)
            taken += len(times) * usual / floor
            self._floors[job_type] = (
                min(usual, floor * FLOOR_RISE) if usual > floor else floor + FLOOR_FALL * (usual - floor)
            )
        return taken / jobs if jobs else None
