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
MAX_LABEL_BYTES = 16 * 1024
"""Bytes of all labels of a job, names and values: every event of the job carries them."""

MAX_TIMEOUT_S = 365 * 24 * 3600
MAX_ATTEMPTS = 2**31 - 1
"""The largest Avro `int`."""

MAX_ATTEMPT = 1_000_000_000
"""The highest first attempt of a submission; numbers of attempts have 32 bits."""


class InvalidJob(ValueError):
    """The job cannot be submitted. The message names the field, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit. `payload` is a pydantic model or anything JSON can hold; `bytes` are sent as they are.

    `ordering_key`: jobs with equal keys run one after the other. `deadline`: an aware datetime after which the job
    must not start. `timeout_s`: longest run time of one attempt, in seconds. `traceparent`: W3C trace context; the
    current OpenTelemetry span's when absent.

    `job_id`: a UUID, made new when absent. A job that is submitted again under the id it had runs again, as another
    attempt. `attempt`: the number of its first attempt, of which there are `max_attempts`. When absent it is 1, or the
    next one of a job that the same client has submitted lately. For a job that another client or process submitted
    give one that it has not had: one more than `millstream job show` says.
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
    attempt: int | None = None

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
            "labels": self._checked_labels,
            "source": source,
            "deadline": self.deadline,
            "max_attempts": self.max_attempts,
            "traceparent": traceparent if self.traceparent is None else self.traceparent,
            "content_type": content_type,
            "payload": payload,
        }
        if self.timeout_s is not None:
            given["timeout_ms"] = _milliseconds(self.timeout_s)
        if self.job_id is not None:
            given["job_id"] = self.job_id
        if self.attempt is not None:
            given["attempt"] = self._checked_attempt()
        try:
            request = JobRequest(**given)
        except ValidationError as error:
            raise InvalidJob(_explain(error)) from error
        attempts = range(request.attempt, request.attempt + request.max_attempts)
        if attempts.stop - 1 > MAX_ATTEMPTS:
            raise InvalidJob(f"max_attempts={request.max_attempts}: at most {MAX_ATTEMPTS - request.attempt + 1:,}")
        _check_size(request.labels)
        return with_attempts(request, attempts)

    def _checked_attempt(self) -> int:
        attempt = self.attempt
        if not isinstance(attempt, int) or not 1 <= attempt <= MAX_ATTEMPT:
            raise InvalidJob(f"attempt={attempt!r}: a whole number from 1 to {MAX_ATTEMPT:,}")
        if attempt > 1 and self.job_id is None:
            raise InvalidJob(f"attempt={attempt}: a job without a `job_id` is new, so its first attempt is 1")
        return attempt

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
        """All fields but id, ordering key and payload. Equal for jobs that can share their encoding.

        Raises `InvalidJob` for labels that are no mapping."""
        labels = tuple(self._checked_labels.items()) if self.labels else ()
        return (
            self.attempt,
            self.job_type,
            self.tenant,
            self.lane,
            labels,
            self.deadline,
            self.timeout_s,
            self.max_attempts,
            self.traceparent,
        )

    @property
    def _checked_labels(self) -> dict[str, str]:
        if isinstance(self.labels, dict):
            return self.labels
        if isinstance(self.labels, Mapping):
            return dict(self.labels)
        raise InvalidJob(f"labels={self.labels!r}: a mapping of names to texts")


def _milliseconds(timeout_s: float) -> int:
    if not isinstance(timeout_s, int | float) or not 0.001 <= timeout_s <= MAX_TIMEOUT_S:
        raise InvalidJob(f"timeout_s={timeout_s!r}: a number of seconds from 0.001 to {MAX_TIMEOUT_S:,}")
    return round(timeout_s * 1000)


def _check_size(labels: Mapping[str, str]) -> None:
    try:
        size = sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
    except UnicodeEncodeError as error:
        raise InvalidJob(f"labels have a text that UTF-8 cannot encode: {error}") from error
    if size > MAX_LABEL_BYTES:
        raise InvalidJob(f"labels are {size:,} bytes, the limit is {MAX_LABEL_BYTES:,}: put data into the payload")


def with_attempts(request: JobRequest, attempts: range) -> JobRequest:
    """The request for these attempts: on the wire `max_attempts` is the number of the last one."""
    last = attempts.stop - 1
    if (request.attempt, request.max_attempts) == (attempts.start, last):
        return request
    return request.model_copy(update={"attempt": attempts.start, "max_attempts": last})


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
