"""The pydantic twins of the Avro records: the only types that the rest of the code passes around.

Every timestamp is an aware UTC `datetime` (microseconds on the wire), every id a string in canonical UUID form. Field
meanings are in the `doc` of each Avro field; a test holds the two in step.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

import uuid_utils
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Tenants, job types and lanes: a letter or digit, then up to 127 letters, digits, dots, dashes and underscores."""


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the time has no time zone; use an aware datetime such as datetime.now(UTC)")
    return moment.astimezone(UTC)


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
JobId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Timestamp = Annotated[datetime, AfterValidator(_utc)]


def new_id() -> str:
    """A new UUIDv7: unique, and ordered by the time it was made."""
    return str(uuid_utils.uuid7())


class Record(BaseModel):
    """What all records of the wire have in common: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobRequest(Record):
    """One job to execute: the value of a record on `jobs.<lane>`."""

    job_id: JobId = Field(default_factory=new_id)
    tenant: Name
    job_type: Name
    lane: Name = "default"
    ordering_key: str = Field(default="", max_length=256)
    source: str = Field(default="", max_length=256)
    submitted_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    traceparent: str = Field(default="", pattern=r"^$|^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    attempt: int = Field(default=1, ge=1)
    max_attempts: int = Field(default=1, ge=1)
    not_before: Timestamp | None = None
    deadline: Timestamp | None = None
    timeout_ms: int | None = Field(default=None, ge=1)
    content_type: str = "application/json"
    payload: bytes = b""

    @property
    def record_key(self) -> bytes:
        """The Kafka key: jobs of one ordering key share a partition, the others are spread by id."""
        return (self.ordering_key or self.job_id).encode()


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


class WorkerState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class InFlight(Record):
    """A job that a worker runs now."""

    job_id: JobId
    attempt: int
    since: Timestamp


class Heartbeat(Record):
    """A worker's sign of life: the value of a record on `jobs.heartbeats`."""

    worker_id: str
    transactional_id: str = ""
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    interval_s: float = 1.0
    host: str = ""
    region: str = ""
    instance_type: str = ""
    worker_version: str = ""
    lanes: list[str] = Field(default_factory=list)
    state: WorkerState = WorkerState.RUNNING
    capacity: int = 0
    busy: int = 0
    queued: int = 0
    in_flight: list[InFlight] = Field(default_factory=list, max_length=100)
    cpu_percent: float = 0.0
    rss_bytes: int = 0
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None


class Action(StrEnum):
    CANCEL_JOB = "cancel_job"
    PAUSE = "pause"
    RESUME = "resume"
    SET_QUOTA = "set_quota"


class Scope(StrEnum):
    JOB = "job"
    TENANT = "tenant"
    JOB_TYPE = "job_type"
    LANE = "lane"


class Command(Record):
    """An order to the workers: the value of a record on `jobs.commands`.

    A quota is set whole: a limit that the order does not name is as it was configured. Raises pydantic's
    ValidationError for an order that no worker could obey.
    """

    command_id: str = Field(default_factory=new_id)
    issued_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    issued_by: str = ""
    action: Action
    scope: Scope
    target: str = Field(min_length=1)
    max_concurrency: int | None = Field(None, ge=0, lt=2**31)
    max_per_second: float | None = Field(None, gt=0, allow_inf_nan=False)
    weight: float | None = Field(None, ge=0.01, le=100)
    reason: str = ""

    @model_validator(mode="after")
    def _of_its_scope(self) -> Self:
        if (self.action is Action.CANCEL_JOB) != (self.scope is Scope.JOB):
            raise ValueError(f"{self.action.value} does not go with scope {self.scope.value}")
        return self

    @property
    def key(self) -> bytes:
        """The record's key, of which compaction keeps the last order. Pausing and resuming replace each other; a quota
        is another kind. A record of this key without a value takes the order back."""
        kind = "paused" if self.action in (Action.PAUSE, Action.RESUME) else self.action.value
        return f"{self.scope.value}:{self.target}:{kind}".encode()

    @property
    def limits(self) -> dict[str, float]:
        """The limits that a quota order names."""
        return self.model_dump(include={"max_concurrency", "max_per_second", "weight"}, exclude_none=True)


class DeadReason(StrEnum):
    FAILED = "failed"
    UNREADABLE = "unreadable"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_PAYLOAD = "invalid_payload"
    TIMED_OUT = "timed_out"
    TOO_LARGE = "too_large"
    SINK_UNREADABLE = "sink_unreadable"
    OTHER = "other"


class DeadLetter(Record):
    """A record that was given up, with its complete cause: the value of a record on `jobs.dead`."""

    job_id: str = ""
    tenant: str = ""
    job_type: str = ""
    attempt: int = 0
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    reason: DeadReason
    error_type: str = ""
    error_message: str = ""
    error_fingerprint: str = ""
    stack: str = ""
    worker_id: str = ""
    topic: str
    partition: int
    offset: int
    record_key: bytes | None = None
    record_value: bytes | None = None


class State(StrEnum):
    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a job in this state will not run again by itself."""
        return self in {State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED}


class JobState(Record):
    """What is known of a job now: the value of a record on `jobs.states`."""

    job_id: JobId
    tenant: str
    job_type: str
    lane: str
    state: State
    attempt: int = 0
    execution_id: str | None = None
    submitted_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    updated_at: Timestamp
    worker_id: str = ""
    host: str = ""
    progress: float | None = None
    message: str = ""
    wait_ms: float | None = None
    run_ms: float | None = None
    error_type: str = ""
    error_message: str = ""
    executions: int = 0
    outcomes: int = 0
    applied: list[str] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)


class AlertKind(StrEnum):
    LOST_WORKER = "lost_worker"
    STUCK_JOB = "stuck_job"
    LATE_JOB = "late_job"
    ERROR_SPIKE = "error_spike"
    BUDGET = "budget"
    OTHER = "other"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Record):
    """Something an engineer should know: the value of a record on `jobs.alerts`."""

    fingerprint: str
    kind: AlertKind
    severity: Severity = Severity.WARNING
    opened_at: Timestamp
    resolved_at: Timestamp | None = None
    subject: str = ""
    summary: str = ""
    labels: dict[str, str] = Field(default_factory=dict)


class ChangeKind(StrEnum):
    DEPLOY = "deploy"
    CONFIG = "config"
    QUOTA = "quota"
    INFRASTRUCTURE = "infrastructure"
    OTHER = "other"


class Change(Record):
    """A deploy, configuration or quota change: the value of a record on `jobs.changes`."""

    change_id: str = Field(default_factory=new_id)
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    kind: ChangeKind
    service: str
    version: str = ""
    author: str = ""
    summary: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
