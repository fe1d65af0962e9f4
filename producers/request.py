"""From the arguments of a producer to a valid JobRequest, or a clear error before anything is sent."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from millstream.producers.tracing import current_traceparent
from millstream.schemas import JobRequest

MAX_PAYLOAD_BYTES = 1024 * 1024


class InvalidJob(ValueError):
    """The job cannot be submitted. The message names the field, its value and what is allowed."""


@dataclass(frozen=True)
class NewJob:
    """A job to submit. `payload` is a pydantic model or anything JSON can hold; `bytes` are sent as they are.

    `ordering_key`: jobs with equal keys run one after the other. `deadline`: an aware datetime after which the job
    must not start. `timeout_s`: longest run time of one attempt, in seconds. `job_id`: set it to submit the same job
    again under the id it had (a UUID); made new when absent. `traceparent`: W3C trace context; the current
    OpenTelemetry span's when absent.
    """

    job_type: str
    payload: Any = None
    tenant: str = "default"
    lane: str = "default"
    ordering_key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    deadline: datetime | None = None
    timeout_s: float | None = None
    max_attempts: int = 1
    job_id: str | None = None
    traceparent: str | None = None

    def request(
        self,
        source: str = "",
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        lanes: Collection[str] | None = None,
        traceparent: str | None = None,
    ) -> JobRequest:
        """The request to write; `lanes`: the lanes that exist, any when None; `traceparent`: used if the job has
        none, the current span's when None. Raises `InvalidJob`."""
        if lanes is not None and self.lane not in lanes:
            raise InvalidJob(f"lane={self.lane!r}: the lanes are {', '.join(lanes)}")
        payload, content_type = self.payload_bytes(max_payload_bytes)
        if traceparent is None:
            traceparent = current_traceparent()
        given: dict[str, Any] = {
            "tenant": self.tenant,
            "job_type": self.job_type,
            "lane": self.lane,
            "ordering_key": self.ordering_key,
            "labels": self.labels if isinstance(self.labels, dict) else dict(self.labels),
            "source": source,
            "deadline": self.deadline,
            "max_attempts": self.max_attempts,
            "traceparent": traceparent if self.traceparent is None else self.traceparent,
            "content_type": content_type,
            "payload": payload,
        }
        if self.timeout_s is not None:
            given["timeout_ms"] = round(self.timeout_s * 1000)
        if self.job_id is not None:
            given["job_id"] = self.job_id
        try:
            return JobRequest(**given)
        except ValidationError as error:
            raise InvalidJob(_explain(error)) from error

    def payload_bytes(self, limit: int = MAX_PAYLOAD_BYTES) -> tuple[bytes, str]:
        """The payload as it is sent, and its media type. Raises `InvalidJob`, also above `limit` bytes."""
        payload, content_type = _payload_bytes(self.payload)
        if len(payload) > limit:
            raise InvalidJob(
                f"payload of {self.job_type!r} is {len(payload):,} bytes, the limit is {limit:,}: "
                "store it elsewhere and submit a reference to it"
            )
        return payload, content_type

    @property
    def shared_fields(self) -> tuple[object, ...]:
        """All fields but id, ordering key and payload. Equal for jobs that can share their encoding."""
        labels = tuple(self.labels.items()) if self.labels else ()
        return (
            self.job_type,
            self.tenant,
            self.lane,
            labels,
            self.deadline,
            self.timeout_s,
            self.max_attempts,
            self.traceparent,
        )


def _payload_bytes(payload: Any) -> tuple[bytes, str]:
    if isinstance(payload, bytes):
        return payload, "application/octet-stream"
    if isinstance(payload, BaseModel):
        return payload.model_dump_json().encode(), "application/json"
    try:
        return to_json(payload, inf_nan_mode="strings"), "application/json"
    except PydanticSerializationError as error:
        raise InvalidJob(f"payload cannot be written as JSON: {error}") from error


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        lines.append(f"{where}={problem['input']!r}: {problem['msg']}")
    return "; ".join(lines)
