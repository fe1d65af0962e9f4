"""One job: where its time went, what ran beside it, and what else failed on its hosts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from clickhouse_connect.driver.client import Client

from millstream.analytics.queries import TimelineStep, job_timeline
from millstream.analytics.rca.questions.rates import SURE, Rate, standard_errors
from millstream.analytics.sql import ask
from millstream.schemas import OUTCOMES

MARGIN_S = 300


class UnknownJob(LookupError):
    """ClickHouse has no event of this job."""


@dataclass(frozen=True)
class Phase:
    """What the job was doing in [started_at, started_at + ms): waiting in the queue, running, or waiting to be retried.

    `doing` is waiting, running, retry_delay, or lost: a start without an outcome before the job started again.
    """

    doing: str
    attempt: int
    started_at: datetime
    ms: float
    worker_id: str


@dataclass(frozen=True)
class Neighbours:
    """The attempts of others around one attempt of the job; `place` says what they share with it."""

    attempt: int
    host: str
    place: str
    attempts: int
    failed: int
    failure_rate: float
    wait_p95_ms: float
    run_p95_ms: float

    @property
    def rate(self) -> Rate:
        return Rate(self.failed, self.attempts)


@dataclass(frozen=True)
class FailedNearby:
    """Other failures on the job's hosts around the same time."""

    host: str
    tenant: str
    job_type: str
    error_type: str
    failed: int
    first_at: datetime
    last_at: datetime
    example_job: UUID
    example_message: str


@dataclass(frozen=True)
class JobStory:
    """Everything known about a job, and what it suggests."""

    job_id: str
    tenant: str
    job_type: str
    lane: str
    state: str
    verdicts: list[str]
    phases: list[Phase]
    timeline: list[TimelineStep]
    neighbours: list[Neighbours]
    failed_nearby: list[FailedNearby]


def job_story(client: Client, job_id: str, margin_s: int = MARGIN_S) -> JobStory:
    """The life of a job. Neighbours are the attempts within `margin_s` seconds of its own.

    Raises `ValueError` when `job_id` is not an id and `UnknownJob` when it has no event.
    """
    timeline = job_timeline(client, job_id)
    if not timeline:
        raise UnknownJob(f"ClickHouse has no event of job {job_id}")
    around = {"job": ("UUID", str(UUID(job_id))), "margin_s": ("UInt32", str(margin_s))}
    neighbours = ask(client, Neighbours, "rca_job_neighbours", around)
    phases = list(phases_of(timeline))
    first, last = timeline[0], timeline[-1]
    return JobStory(
        job_id,
        first.tenant,
        first.job_type,
        first.lane,
        last.kind,
        list(judge(timeline, phases, neighbours)),
        phases,
        timeline,
        neighbours,
        ask(client, FailedNearby, "rca_job_failures_nearby", around),
    )


def phases_of(timeline: Sequence[TimelineStep]) -> Iterator[Phase]:
    """The job's life cut into waiting, running and retry delays, in order. Progress events do not end a phase."""
    marks = [step for step in timeline if step.kind in ("submitted", "started", *OUTCOMES)]
    for before, after in pairwise(marks):
        ms = (after.occurred_at - before.occurred_at).total_seconds() * 1000
        if before.kind == "started":
            doing = "running" if after.kind in OUTCOMES and after.attempt == before.attempt else "lost"
            yield Phase(doing, before.attempt, before.occurred_at, ms, before.worker_id)
        elif after.kind == "started":
            doing = "waiting" if before.kind == "submitted" else "retry_delay"
            yield Phase(doing, after.attempt, before.occurred_at, ms, after.worker_id)


def judge(timeline: Sequence[TimelineStep], phases: Sequence[Phase], neighbours: Sequence[Neighbours]) -> Iterator[str]:
    """What the facts suggest, strongest evidence first."""
    yield from _where_the_time_went(phases)
    lost = sum(phase.doing == "lost" for phase in phases)
    if lost:
        yield f"starts without an outcome: {lost}; the worker was lost, and the job ran again"
    failures = [step for step in timeline if step.kind in ("failed", "timed_out")]
    if not failures:
        return
    places = {each.place: each.rate for each in neighbours if each.attempt == failures[-1].attempt}
    here, others = places.get("same_host", Rate(0, 0)), _together(places, but="same_host")
    if standard_errors(others, here) >= SURE:
        yield (
            f"host {failures[-1].host} fails jobs of others too: {here.share:.0%} of {here.of} there, "
            f"{others.share:.0%} of {others.of} elsewhere"
        )
    alike, rest = places.get("same_type_elsewhere", Rate(0, 0)), _together(places, but="same_type_elsewhere")
    if standard_errors(rest, alike) >= SURE:
        yield f"{failures[-1].job_type} fails on other hosts too: {alike.share:.0%} of {alike.of}"
    yield from _whether_retries_helped(timeline, failures)


def _where_the_time_went(phases: Sequence[Phase]) -> Iterator[str]:
    total = sum(phase.ms for phase in phases)
    if not total:
        return
    doing = max({phase.doing for phase in phases}, key=lambda name: sum(p.ms for p in phases if p.doing == name))
    ms = sum(phase.ms for phase in phases if phase.doing == doing)
    words = {"waiting": "in the queue", "running": "running", "retry_delay": "waiting to be retried", "lost": "lost"}
    yield f"{ms / total:.0%} of its {total / 1000:,.1f} s it was {words[doing]}"


def _whether_retries_helped(timeline: Sequence[TimelineStep], failures: Sequence[TimelineStep]) -> Iterator[str]:
    errors = sorted({step.error_type for step in failures})
    last = [step for step in timeline if step.kind in OUTCOMES][-1]
    if last.kind == "succeeded":
        yield f"attempt {last.attempt} succeeded after {len(failures)} had failed ({', '.join(errors)})"
    elif len(errors) > 1:
        yield f"its attempts failed in different ways: {', '.join(errors)}"
    elif len(failures) > 1:
        yield f"{len(failures)} attempts failed the same way ({errors[0]}): a retry does not help"


def _together(places: dict[str, Rate], but: str) -> Rate:
    rates = [rate for place, rate in places.items() if place != but]
    return Rate(sum(rate.bad for rate in rates), sum(rate.of for rate in rates))
