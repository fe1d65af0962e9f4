"""The heartbeats of the workers."""

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from millstream.schemas.record import JobId, Record, Timestamp


class WorkerState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class InFlight(Record):
    """A job that a worker is running."""

    job_id: JobId
    attempt: int
    since: Timestamp


class Heartbeat(Record):
    """One heartbeat of a worker: the value of a record on `jobs.heartbeats`."""

    worker_id: str
    transactional_id: str = ""
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    interval_s: float = Field(default=1.0, gt=0)
    host: str = ""
    region: str = ""
    instance_type: str = ""
    worker_version: str = ""
    lanes: list[str] = Field(default_factory=list)
    state: WorkerState = WorkerState.RUNNING
    capacity: int = Field(default=0, ge=0)
    busy: int = Field(default=0, ge=0)
    queued: int = Field(default=0, ge=0)
    in_flight: list[InFlight] = Field(default_factory=list, max_length=100)
    cpu_percent: float = 0.0
    rss_bytes: int = 0
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
