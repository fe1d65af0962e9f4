"""The request to execute a job."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from millstream.schemas.ids import new_id
from millstream.schemas.record import JobId, Name, Record, Timestamp

MAX_LABELS = 32
MAX_LABEL_BYTES = 16 * 1024
"""Bytes of all labels of a job, names and values: every event of the job carries them."""

MAX_INT = 2**31 - 1
"""The largest Avro `int`."""

MAX_ATTEMPTS = 1_000
"""The most attempts of one submission: a job that never succeeds must come to an end."""


def label_bytes(labels: Mapping[str, str]) -> int:
    """Bytes of all names and values. Raises UnicodeEncodeError."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())


def _small(labels: dict[str, str]) -> dict[str, str]:
    if (size := label_bytes(labels)) > MAX_LABEL_BYTES:
        raise ValueError(f"{size:,} bytes, the limit is {MAX_LABEL_BYTES:,}")
    return labels


Labels = Annotated[dict[str, str], Field(max_length=MAX_LABELS), AfterValidator(_small)]


class JobRequest(Record):
    """One job to execute: the value of a record on `jobs.<lane>`. Whatever a worker keeps or writes of it besides the
    payload is bounded here, because not every record comes from a client of ours."""

    job_id: JobId = Field(default_factory=new_id)
    tenant: Name
    job_type: Name
    lane: Name = "default"
    ordering_key: str = Field(default="", max_length=256)
    source: str = Field(default="", max_length=256)
    submitted_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    traceparent: str = Field(default="", pattern=r"^$|^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    labels: Labels = Field(default_factory=dict)
    attempt: int = Field(default=1, ge=1, le=MAX_INT)
    max_attempts: int = Field(default=1, ge=1, le=MAX_INT)
    not_before: Timestamp | None = None
    deadline: Timestamp | None = None
    timeout_ms: int | None = Field(default=None, ge=1)
    content_type: str = Field(default="application/json", max_length=256)
    payload: bytes = b""

    @field_validator("max_attempts")
    @classmethod
    def _come_to_an_end(cls, last: int, info: ValidationInfo) -> int:
        """`max_attempts` is the number of the last attempt."""
        attempts = last - info.data.get("attempt", 1) + 1
        if attempts > MAX_ATTEMPTS:
            raise ValueError(f"{attempts:,} attempts, the limit is {MAX_ATTEMPTS:,}")
        return last

    @property
    def record_key(self) -> bytes:
        """The Kafka key: jobs of one ordering key share a partition, the others are spread by id."""
        return (self.ordering_key or self.job_id).encode()
