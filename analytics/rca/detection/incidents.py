"""Detection on ClickHouse: the series that are watched, and the incidents that come of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.detection.detection import (
    DAY,
    LONGEST_MEMORY_DAYS,
    Deviation,
    Kind,
    Nature,
    Series,
    deviations,
)
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, window

STEP = timedelta(minutes=5)
LEAST_EVENTS = 100
"""Series with fewer events than this in window and history together say too little to be watched."""

LEAST_EXCESS = 5.0
"""Fewer failures or retries too many than this are no incident."""

STALLS = frozenset({Kind.STALL})


class UnknownIncident(LookupError):
    """There is no incident with this id."""


@dataclass(frozen=True)
class Incident:
    """A metric left its usual course in [started_at, ended_at); `ended_at` is None while it lasts.

    `dimension` and `value` name the widest series that shows it, both empty for all jobs; `seen_in` the others, as
    `dimension=value`. `observed` and `expected` are in the metric's unit: a share from 0 to 1, milliseconds (p95), cost
    or events a step of `step_seconds`.
    """

    incident_id: str
    metric: str
    kind: str
    dimension: str
    value: str
    started_at: datetime
    ended_at: datetime | None
    observed: float
    expected: float
    excess: float
    score: float
    seen_in: list[str]
    step_seconds: int

    @property
    def scope(self) -> str:
        """`tenant=acme`, or `all jobs`."""
        return f"{self.dimension}={self.value}" if self.dimension else "all jobs"


@dataclass(frozen=True)
class Watch:
    """One metric that is watched: where its values come from, and what is worth an incident."""

    metric: str
    source: str
    nature: Nature
    values: str
    trials: str
    upward: bool = True
    least_ratio: float = 2.0
    floor: float = 0.0
    only: frozenset[Kind] = frozenset(Kind)


WATCHED = (
    Watch("failure_rate", "counts", Nature.SHARE, "failed", "finished", least_ratio=1.5),
    Watch("retries", "counts", Nature.SHARE, "retries", "finished"),
    Watch("queue_wait", "queue_wait", Nature.SIZE, "p95_ms", "attempts", floor=50),
    Watch("run_time", "run", Nature.SIZE, "p95_ms", "attempts", least_ratio=1.5, floor=20),
    Watch("cost", "costs", Nature.SIZE, "cost", "attempts", floor=1e-6),
    Watch("submissions", "counts", Nature.COUNT, "submitted", "submitted"),
    Watch("starts", "counts", Nature.COUNT, "started", "started", upward=False, only=STALLS),
    Watch("throughput_drop", "counts", Nature.COUNT, "finished", "finished", upward=False),
)


@dataclass(frozen=True)
class _Counts:
    step: datetime
    dimension: str
    value: str
    submitted: int
    started: int
    retries: int
    finished: int
    failed: int


@dataclass(frozen=True)
class _Durations:
    step: datetime
    dimension: str
    value: str
    attempts: int
    p95_ms: float


@dataclass(frozen=True)
class _Costs:
    step: datetime
    dimension: str
    value: str
    attempts: int
    cost: float


_Row = _Counts | _Durations | _Costs


@dataclass(frozen=True)
class Watched:
    """A series of ClickHouse with what it is."""

    watch: Watch
    dimension: str
    value: str
    series: Series

    @property
    def name(self) -> str:
        """`tenant=acme`, or the empty string for all jobs."""
        return f"{self.dimension}={self.value}" if self.dimension else ""


def find_incidents(
    client: Client,
    span: Window,
    *,
    step: timedelta = STEP,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Incident]:
    """Incidents of the whole steps in `span`, judged by up to four weeks of history before it; nothing is written.

    One incident gathers what overlaps in time in several series of one metric. `on_progress` is told how many of how
    many series were looked at. Incidents that were recorded before keep their ids.
    """
    watched = list(watched_series(client, span, step))
    found: list[tuple[Watched, Deviation]] = []
    for number, each in enumerate(watched, start=1):
        found += [(each, deviation) for deviation in _judge(each, span.start, len(watched))]
        on_progress(number, len(watched))
    recorded = incidents(client, span.start - LONGEST_MEMORY_DAYS * DAY, span.end)
    return sorted((_known(incident, recorded) for incident in _gather(found, step)), key=lambda each: each.started_at)


def watched_series(
    client: Client, span: Window, step: timedelta = STEP, metrics: Sequence[str] = ()
) -> Iterator[Watched]:
    """Every series worth watching, with its history; only of `metrics` when some are given."""
    seconds = round(step.total_seconds())
    if seconds < 60 or seconds % 60 or DAY % step:
        raise ValueError(f"a step of {step} is not a whole number of minutes that divides the day")
    end = _floor(span.end, seconds)
    rows: dict[str, Sequence[_Row]] = {}
    arguments = window(span.start - LONGEST_MEMORY_DAYS * DAY, end) | {"step_seconds": ("UInt32", str(seconds))}
    for watch in WATCHED:
        if metrics and watch.metric not in metrics:
            continue
        if watch.source not in rows:
            rows[watch.source] = _read(client, watch.source, arguments)
        first = min((row.step for row in rows[watch.source]), default=end)
        for (dimension, value), group in groupby(rows[watch.source], lambda row: (row.dimension, row.value)):
            series = _series(watch, list(group), first, end, step)
            if np.nansum(series.trials) >= LEAST_EVENTS:
                yield Watched(watch, dimension, value, series)


def record(client: Client, found: Sequence[Incident]) -> None:
    """Write incidents; one that was written before is replaced."""
    if found:
        columns = [*Incident.__dataclass_fields__]
        rows = [[getattr(each, column) for column in columns] for each in found]
        client.insert("incidents", rows, column_names=columns)


def incidents(client: Client, start: datetime, end: datetime) -> list[Incident]:
    """Recorded incidents that touch [start, end), oldest first."""
    return ask(client, Incident, "rca_incidents", window(start, end))


def incident(client: Client, incident_id: str) -> Incident:
    """The recorded incident with this id. Raises `UnknownIncident`."""
    ever = incidents(client, datetime(1971, 1, 1, tzinfo=UTC), datetime(2106, 1, 1, tzinfo=UTC))
    for each in ever:
        if each.incident_id == incident_id:
            return each
    last = ", ".join(each.incident_id for each in ever[-3:]) or "none is recorded"
    raise UnknownIncident(f"no incident {incident_id!r}; the last ones: {last}")


def _read(client: Client, source: str, arguments: dict[str, tuple[str, str]]) -> Sequence[_Row]:
    if source == "counts":
        return ask(client, _Counts, "rca_counts", arguments)
    if source == "costs":
        return ask(client, _Costs, "rca_costs", arguments)
    return ask(client, _Durations, "rca_durations", arguments | {"stage": ("String", source)})


def _series(watch: Watch, rows: Sequence[_Row], first: datetime, end: datetime, step: timedelta) -> Series:
    values = np.zeros(max(0, (end - first) // step))
    trials = np.zeros(len(values))
    for row in rows:
        at = (row.step - first) // step
        values[at], trials[at] = getattr(row, watch.values), getattr(row, watch.trials)
    return Series(first, step, watch.nature, values, trials, watch.floor)


def _judge(watched: Watched, since: datetime, among: int) -> list[Deviation]:
    watch = watched.watch
    # That nothing at all happens is told apart so well that it needs no evidence for being one series of many.
    among = 1 if watch.only == STALLS else among
    found = deviations(watched.series, since, upward=watch.upward, least_ratio=watch.least_ratio, among=among)
    enough = LEAST_EXCESS if watch.nature is Nature.SHARE else 0
    return [each for each in found if each.kind in watch.only and abs(each.excess) >= enough]


def _gather(found: Sequence[tuple[Watched, Deviation]], step: timedelta) -> Iterator[Incident]:
    """Deviations of one metric that overlap in time as one incident, told by the widest series that shows it."""
    waiting = sorted(found, key=lambda each: (each[0].dimension != "", -each[1].score))
    while waiting:
        (watched, told), *rest = waiting
        same = [
            (other, deviation)
            for other, deviation in rest
            if other.watch.metric == watched.watch.metric and _overlap(told, deviation)
        ]
        waiting = [each for each in rest if each not in same]
        yield Incident(
            "-".join(filter(None, (watched.watch.metric, f"{told.start:%Y%m%d-%H%M}", watched.value))),
            watched.watch.metric,
            told.kind.value,
            watched.dimension,
            watched.value,
            told.start,
            told.end,
            told.observed,
            told.expected,
            told.excess,
            told.score,
            [other.name for other, _ in sorted(same, key=lambda each: -each[1].score)],
            round(step.total_seconds()),
        )


def _overlap(one: Deviation, other: Deviation) -> bool:
    return (one.end is None or other.start < one.end) and (other.end is None or one.start < other.end)


def _known(found: Incident, recorded: Sequence[Incident]) -> Incident:
    """The incident under the id that an earlier detection gave it."""
    for each in recorded:
        begins_before_its_end = each.ended_at is None or found.started_at < each.ended_at
        ends_after_its_start = found.ended_at is None or each.started_at < found.ended_at
        if each.metric == found.metric and begins_before_its_end and ends_after_its_start:
            return replace(found, incident_id=each.incident_id, started_at=min(each.started_at, found.started_at))
    return found


def _floor(moment: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
