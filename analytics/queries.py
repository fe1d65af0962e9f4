"""The parameterised views as typed Python functions, one for each question of the report.

Every window is half open, [start, end), in aware datetimes; the SQL is in `views/`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from clickhouse_connect.driver.client import Client

from millstream.analytics.sql import ask, read_view, window


@dataclass(frozen=True)
class Throughput:
    """What happened in one step of time; `finished` counts outcomes of attempts."""

    step: datetime
    submitted: int
    started: int
    succeeded: int
    failed: int
    timed_out: int
    cancelled: int
    finished: int
    finished_per_s: float


@dataclass(frozen=True)
class Latency:
    """Durations in milliseconds of one stage (queue_wait, run, total) for one value of the dimension asked by."""

    stage: str
    dimension: str
    attempts: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class Failures:
    """Failed attempts of one tenant and job type; the rate counts failed and timed out ones, 0 to 1."""

    tenant: str
    job_type: str
    attempts: int
    failed: int
    timed_out: int
    cancelled: int
    failure_rate: float
    top_error: str
    top_error_count: int
    top_error_message: str


@dataclass(frozen=True)
class TenantCost:
    """What one tenant's attempts cost, and what part of it went into attempts that did not succeed."""

    tenant: str
    currency: str
    attempts: int
    slot_hours: float
    cost: float
    wasted_cost: float
    wasted_share: float


@dataclass(frozen=True)
class AttemptCounts:
    """Exact counts; `doubled` is the number of rows beyond one for each (job, attempt), so 0 is right."""

    attempts: int
    distinct_attempts: int
    doubled: int
    jobs: int
    finished_jobs: int


@dataclass(frozen=True)
class TimelineStep:
    """One event in a job's life."""

    occurred_at: datetime
    since_submit_ms: float
    kind: str
    attempt: int
    final: bool
    worker_id: str
    host: str
    worker_version: str
    wait_ms: float | None
    run_ms: float | None
    cpu_ms: float | None
    progress: float | None
    message: str
    error_type: str
    error_message: str
    due_at: datetime | None
    tenant: str
    job_type: str
    lane: str


def throughput(client: Client, start: datetime, end: datetime, step_seconds: int = 60) -> list[Throughput]:
    """Submissions, starts and outcomes over time; steps in which nothing happened are absent."""
    return ask(client, Throughput, "throughput", window(start, end) | {"step_seconds": ("UInt32", str(step_seconds))})


def latency(
    client: Client, start: datetime, end: datetime, by: Literal["", "lane", "tenant", "job_type"] = ""
) -> list[Latency]:
    """Percentiles of each stage, within 1 %, over the whole minutes that the window touches."""
    return ask(client, Latency, "latency_percentiles", window(start, end) | {"by": ("String", by)})


def failures(client: Client, start: datetime, end: datetime) -> list[Failures]:
    """Tenants and job types with failures, worst first."""
    return ask(client, Failures, "failures", window(start, end))


def cost_by_tenant(client: Client, start: datetime, end: datetime) -> list[TenantCost]:
    """Cost over the whole minutes that the window touches, most expensive tenant first."""
    return ask(client, TenantCost, "cost_by_tenant", window(start, end))


def attempt_counts(client: Client, start: datetime, end: datetime) -> AttemptCounts:
    """How many attempts ended in the window, and how many rows are there twice."""
    return ask(client, AttemptCounts, "attempt_counts", window(start, end))[0]


def job_timeline(client: Client, job_id: str) -> list[TimelineStep]:
    """Every event of a job in order; empty when there is none. Raises `ValueError` when `job_id` is not an id."""
    return ask(client, TimelineStep, "job_timeline", {"job": ("UUID", str(UUID(job_id)))})


def example_job(client: Client, start: datetime, end: datetime) -> str | None:
    """The id of a job to show, a failed one where there is one; None when none ended in the window."""
    found = read_view(client, ("job_id",), "example_jobs", window(start, end))
    return str(found[0][0]) if found else None
