"""Simulates other numbers, kinds and prices of workers: recorded jobs are replayed through lanes and workers.

The model: a job arrives when it was due, in a partition of its lane; the worker that owns the partition runs it as soon
as one of its slots is free, the more urgent lane first, then in order of arrival; it runs as long as recorded. A worker
kept for a lane owns only partitions of that lane. Retries, drains and the work of the platform are not modelled, except
for `overhead_s` of each job. Pure: no database, no clock; equal input gives an equal result.
"""

import math
import random
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

LEVELS = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Arrival:
    """A recorded job: its arrival, in seconds since the first one; its lane; its run time, in seconds."""

    at_s: float
    lane: str
    run_s: float


@dataclass(frozen=True)
class Scenario:
    """Workers of one kind. `kept` is how many of them read one lane only; the others read all lanes.

    `price_per_hour` is of one worker, None where it is not known. `partitions` is of each lane. `urgency` orders lanes,
    most urgent first; without it, all are equal.
    """

    name: str
    workers: int
    concurrency: int
    price_per_hour: float | None = None
    kept: Mapping[str, int] = field(default_factory=dict)
    urgency: Sequence[str] = ()
    partitions: int = 8
    overhead_s: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.concurrency < 1 or self.partitions < 1:
            raise ValueError(f"{self.name}: workers, concurrency and partitions are 1 or more")
        if not all(0 <= value < math.inf for value in (self.price_per_hour or 0.0, self.overhead_s)):
            raise ValueError(f"{self.name}: price and overhead are numbers, not below 0")
        if any(number < 1 for number in self.kept.values()):
            raise ValueError(f"{self.name}: a lane has 1 or more workers of its own, or is not named")
        if sum(self.kept.values()) > self.workers:
            raise ValueError(f"{self.name}: {sum(self.kept.values())} workers are kept for lanes, of {self.workers}")


@dataclass(frozen=True)
class Waits:
    """Seconds from arrival to start."""

    jobs: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True)
class SimulatedRun:
    """The result of a simulation. `utilisation` and `cost` are of all workers until the last job ended.

    `cost` is None where the price of a worker is not known.
    """

    scenario: Scenario
    waits: Waits
    by_lane: dict[str, Waits]
    utilisation: float
    lasted_s: float
    cost: float | None
    waits_s: list[float]
    """Of each job, in the order of arrival."""


class Unserved(ValueError):
    """A lane has jobs and no worker reads it."""


def simulate(arrivals: Sequence[Arrival], scenario: Scenario, seed: int = 1) -> SimulatedRun:
    """Replay `arrivals` through `scenario`; `seed` draws their partitions. Raises `Unserved`."""
    environment = simpy.Environment()
    slots = [simpy.PriorityResource(environment, scenario.concurrency) for _ in range(scenario.workers)]
    readers = _readers(scenario, sorted({arrival.lane for arrival in arrivals}))
    urgency = {lane: number for number, lane in enumerate(scenario.urgency)}
    draw = random.Random(seed)
    waits = [0.0] * len(arrivals)
    ordered = sorted(range(len(arrivals)), key=lambda number: arrivals[number].at_s)

    def run(number: int, arrival: Arrival, worker: int) -> Generator[Any, Any, None]:
        with slots[worker].request(urgency.get(arrival.lane, len(urgency))) as slot:
            yield slot
            waits[number] = environment.now - arrival.at_s + scenario.overhead_s
            yield environment.timeout(arrival.run_s + scenario.overhead_s)

    def arrive() -> Generator[Any, Any, None]:
        for number in ordered:
            arrival = arrivals[number]
            yield environment.timeout(max(0.0, arrival.at_s - environment.now))
            owners = readers[arrival.lane]
            environment.process(run(number, arrival, owners[draw.randrange(scenario.partitions) % len(owners)]))

    environment.process(arrive())
    environment.run()
    lasted = float(environment.now) - (arrivals[ordered[0]].at_s if ordered else 0.0)
    price = scenario.price_per_hour
    busy = sum(arrival.run_s + scenario.overhead_s for arrival in arrivals)
    lanes: defaultdict[str, list[float]] = defaultdict(list)
    for arrival, wait in zip(arrivals, waits, strict=True):
        lanes[arrival.lane].append(wait)
    return SimulatedRun(
        scenario,
        summarise(waits),
        {lane: summarise(found) for lane, found in sorted(lanes.items())},
        busy / (lasted * scenario.workers * scenario.concurrency) if lasted else 0.0,
        lasted,
        None if price is None else lasted / 3600 * scenario.workers * price,
        waits,
    )


def summarise(waits: Sequence[float]) -> Waits:
    """Mean, percentiles (nearest rank) and maximum."""
    if not waits:
        return Waits(0, 0, 0, 0, 0, 0)
    ordered = sorted(waits)
    p50, p95, p99 = (ordered[max(0, math.ceil(level * len(ordered)) - 1)] for level in LEVELS)
    return Waits(len(ordered), sum(ordered) / len(ordered), p50, p95, p99, ordered[-1])


def _readers(scenario: Scenario, lanes: Sequence[str]) -> dict[str, list[int]]:
    """For each lane, the workers that share its partitions."""
    readers: dict[str, list[int]] = {}
    first = 0
    for lane, number in scenario.kept.items():
        readers[lane] = list(range(first, first + number))
        first += number
    shared = list(range(first, scenario.workers))
    for lane in lanes:
        readers.setdefault(lane, [])
        readers[lane] = readers[lane] + shared
        if not readers[lane]:
            raise Unserved(f"{scenario.name}: no worker reads lane {lane!r}; all are kept for other lanes")
    return readers
