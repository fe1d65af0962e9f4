"""The current state of a job, as the tracker keeps it."""

from enum import StrEnum

from pydantic import Field

from millstream.schemas.record import JobId, Record, Timestamp


class State(StrEnum):
    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    OTHER = "other"
    """A state of a newer release, which this one does not know."""

    @property
    def terminal(self) -> bool:
        """Whether a job in this state will not run again by itself."""
        return self in {State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED}


class JobState(Record):
    """The current state of a job: the value of a record on `jobs.states`."""

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
