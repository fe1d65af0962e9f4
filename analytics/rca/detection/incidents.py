"""Incidents: deviations of watched series, gathered by metric and time, and the record of them in ClickHouse."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client

from millstream.analytics.rca.detection.detection import DAY, LONGEST_MEMORY_DAYS, Deviation, deviations
from millstream.analytics.rca.detection.kinds import Nature
from millstream.analytics.rca.detection.watched_series import STEP, WatchedSeries, watched_series
from millstream.analytics.rca.metrics import STALLS
from millstream.analytics.rca.window import Window
from millstream.analytics.sql import ask, insert, window

LEAST_EXCESS = 5.0
"""An excess of fewer failures or retries than this is no incident."""


class UnknownIncident(LookupError):
    """There is no incident with this id."""


@dataclass(frozen=True)
class Incident:
    """A metric left its usual range in [started_at, ended_at); `ended_at` is None while it lasts.

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


def find_incidents(
    client: Client,
    span: Window,
    *,
    step: timedelta = STEP,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Incident]:
    """Incidents of the whole steps in `span`, judged by up to four weeks of history before it; nothing is written.

    Deviations of one metric that overlap in time are one incident. `on_progress` receives the number of series judged
    and the number of all. Incidents that were recorded before keep their ids.
    """
    watched = list(watched_series(client, span, step))
    found: list[tuple[WatchedSeries, Deviation]] = []
    for number, each in enumerate(watched, start=1):
        found += [(each, deviation) for deviation in _judge(each, span.start, len(watched))]
        on_progress(number, len(watched))
    recorded = incidents(client, span.start - LONGEST_MEMORY_DAYS * DAY, span.end)
    return sorted((_known(incident, recorded) for incident in _gather(found, step)), key=lambda each: each.started_at)


def record(client: Client, found: Sequence[Incident]) -> None:
    """Insert incidents; one with the same id is replaced."""
    if found:
        columns = [*Incident.__dataclass_fields__]
        rows = [[getattr(each, column) for column in columns] for each in found]
        insert(client, "incidents", rows, columns)


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


def _judge(watched: WatchedSeries, since: datetime, among: int) -> list[Deviation]:
    metric, source = watched.metric, watched.metric.source
    # A stall is so clear that it needs no more evidence for being one series among many.
    among = 1 if source.only == STALLS else among
    upward = metric.direction == "rise"
    found = deviations(watched.series, since, upward=upward, least_ratio=source.least_ratio, among=among)
    enough = LEAST_EXCESS if source.nature is Nature.SHARE else 0
    return [each for each in found if each.kind in source.only and abs(each.excess) >= enough]


def _gather(found: Sequence[tuple[WatchedSeries, Deviation]], step: timedelta) -> Iterator[Incident]:
    """Deviations of one metric that overlap in time become one incident, named by the widest series that shows it."""
    waiting = sorted(found, key=lambda each: (each[0].dimension != "", -each[1].score))
    while waiting:
        (watched, widest), *rest = waiting
        same = [
            (other, deviation)
            for other, deviation in rest
            if other.metric == watched.metric and _overlap(widest, deviation)
        ]
        waiting = [each for each in rest if each not in same]
        yield Incident(
            "-".join(filter(None, (watched.metric.name, f"{widest.start:%Y%m%d-%H%M}", watched.value))),
            watched.metric.name,
            widest.kind.value,
            watched.dimension,
            watched.value,
            widest.start,
            widest.end,
            widest.observed,
            widest.expected,
            widest.excess,
            widest.score,
            [other.name for other, _ in sorted(same, key=lambda each: -each[1].score)],
            round(step.total_seconds()),
        )


def _overlap(one: Deviation, other: Deviation) -> bool:
    return (one.end is None or other.start < one.end) and (other.end is None or one.start < other.end)


def _known(found: Incident, recorded: Sequence[Incident]) -> Incident:
    """The incident with the id under which an earlier detection recorded it."""
    for each in recorded:
        begins_before_its_end = each.ended_at is None or found.started_at < each.ended_at
        ends_after_its_start = found.ended_at is None or each.started_at < found.ended_at
        if each.metric == found.metric and begins_before_its_end and ends_after_its_start:
            return replace(found, incident_id=each.incident_id, started_at=min(each.started_at, found.started_at))
    return found
