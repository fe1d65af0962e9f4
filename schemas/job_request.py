"""The request to execute a job."""

from datetime import UTC, datetime

from pydantic import Field

from millstream.schemas.ids import new_id
from millstream.schemas.record import JobId, Name, Record, Timestamp


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
