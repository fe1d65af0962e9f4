"""The dead letters: records that were given up, with their causes."""

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from millstream.schemas.record import Record, Timestamp


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
