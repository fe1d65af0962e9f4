"""The events in the life of a job."""

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from millstream.schemas.ids import new_id
from millstream.schemas.record import JobId, Name, Record, Timestamp


class EventKind(StrEnum):
    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    STARTED = "started"
    PROGRESS = "progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    RETRY_SCHEDULED = "retry_scheduled"
    DEAD_LETTERED = "dead_lettered"
    LOST = "lost"
    OTHER = "other"


OUTCOMES = frozenset({EventKind.SUCCEEDED, EventKind.FAILED, EventKind.TIMED_OUT, EventKind.CANCELLED})
"""The kinds that end an attempt: every (job, attempt) has exactly one of them."""


class JobEvent(Record):
    """One step in the life of a job: the value of a record on `jobs.events`."""

    job_id: JobId
    tenant: Name
    job_type: Name
    lane: Name
    ordering_key: str = ""
    source: str = ""
    submitted_at: Timestamp
    traceparent: str = Field(default="", pattern=r"^$|^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    labels: dict[str, str] = Field(default_factory=dict)
    attempt: int = 0
    execution_id: str | None = None
    worker_id: str = ""
    host: str = ""
    region: str = ""
    instance_type: str = ""
    worker_version: str = ""
    request_partition: int = -1
    request_offset: int = -1
    started_at: Timestamp | None = None
    wait_ms: float | None = None
    event_id: str = Field(default_factory=new_id)
    kind: EventKind
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    final: bool = False
    run_ms: float | None = None
    cpu_ms: float | None = None
    max_rss_bytes: int | None = None
    progress: float | None = None
    message: str = ""
    error_type: str = ""
    error_message: str = ""
    error_fingerprint: str = ""
    stack: str = ""
    due_at: Timestamp | None = None
