"""From the arguments of a producer to a valid JobRequest, or a clear error before anything is sent."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from pydantic import ValidationError

from millstream.producers.payload import UnsendablePayload, encode_payload
from millstream.producers.tracing import current_traceparent
from millstream.schemas import JobRequest
from millstream.schemas.job_request import MAX_ATTEMPTS, MAX_LABEL_BYTES, label_bytes

MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_TIMEOUT_S = 365 * 24 * 3600
MAX_ATTEMPT = 1_000_000_000
"""The highest first attempt of a submission; numbers of attempts have 32 bits."""

SHOWN_LENGTH = 100
SHOWN_PROBLEMS = 5
"""What an error shows of a value, and of how many."""


class InvalidJob(ValueError):
    """The job cannot be submitted. The message names the field, its value and what is allowed."""


class JobFields(TypedDict, total=False):
    """The optional fields of `NewJob` but `attempt`, as the keywords of a function: `**fields: Unpack[JobFields]`."""

    tenant: str
    lane: str
    ordering_key: str
    labels: Mapping[str, str]
    deadline: datetime | None
    timeout_s: float | None
    max_attempts: int
    job_id: str | None
    traceparent: str | None


class NewJobFields(JobFields, total=False):
    """The optional fields of `NewJob`."""

    attempt: int | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit. `payload` is a pydantic model or anything that becomes JSON (docs/submitting.md says how dates,
    decimals and the like are written); `bytes` are sent as they are.

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
            raise InvalidJob(f"lane={_shown(self.lane)}: the lanes are {', '.join(lanes)}")
        payload, content_type = self.payload_bytes(max_payload_bytes)
        if traceparent is None:
            traceparent = current_traceparent()
        given: dict[str, Any] = {
            "tenant": self.tenant,
            "job_type": self.job_type,
            "lane": self.lane,
            "ordering_key": self.ordering_key,
            "labels": _small(self._checked_labels),
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
        if _is_number(self.max_attempts, int) and self.max_attempts > MAX_ATTEMPTS:
            raise InvalidJob(f"max_attempts={_shown(self.max_attempts)}: at most {MAX_ATTEMPTS:,}")
        try:
            # Strictly: a text is no number and no date, and bytes are no text.
            request = JobRequest.model_validate(given, strict=True)
        except ValidationError as error:
            raise InvalidJob(_explain(error)) from error
        attempts = range(request.attempt, request.attempt + request.max_attempts)
        return with_attempts(request, attempts)

    def _checked_attempt(self) -> int:
        attempt = self.attempt
        if not isinstance(attempt, int) or isinstance(attempt, bool) or not 1 <= attempt <= MAX_ATTEMPT:
            raise InvalidJob(f"attempt={_shown(attempt)}: a whole number from 1 to {MAX_ATTEMPT:,}")
        if attempt > 1 and self.job_id is None:
            raise InvalidJob(f"attempt={attempt}: a job without a `job_id` is new, so its first attempt is 1")
        return attempt

    def payload_bytes(self, limit: int = MAX_PAYLOAD_BYTES) -> tuple[bytes, str]:
        """The payload as it is sent, and its media type. Raises `InvalidJob`, also above `limit` bytes."""
        try:
            payload, content_type = encode_payload(self.payload)
        except UnsendablePayload as error:
            raise InvalidJob(str(error)) from error
        if len(payload) > limit:
            raise InvalidJob(
                f"payload of {_shown(self.job_type)} is {len(payload):,} bytes, the limit is {limit:,}: "
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
        raise InvalidJob(f"labels={_shown(self.labels)}: a mapping of names to texts")


def _milliseconds(timeout_s: float) -> int:
    if not _is_number(timeout_s, (int, float)) or not 0.001 <= timeout_s <= MAX_TIMEOUT_S:
        raise InvalidJob(f"timeout_s={_shown(timeout_s)}: a number of seconds from 0.001 to {MAX_TIMEOUT_S:,}")
    return round(timeout_s * 1000)


def _small(labels: dict[str, str]) -> dict[str, str]:
    """The labels, if they are not too large. What else is wrong with them, the request finds."""
    size = 0
    for name, value in labels.items():
        try:
            size += label_bytes({name: value})
        except AttributeError:
            return labels
        except UnicodeEncodeError as error:
            raise InvalidJob(f"labels.{_plain(name)}={_shown(value)}: not a text in unicode: {error}") from error
    if size > MAX_LABEL_BYTES:
        raise InvalidJob(f"labels are {size:,} bytes, the limit is {MAX_LABEL_BYTES:,}: put data into the payload")
    return labels


def _is_number(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def with_attempts(request: JobRequest, attempts: range) -> JobRequest:
    """The request for these attempts: on the wire `max_attempts` is the number of the last one."""
    last = attempts.stop - 1
    if (request.attempt, request.max_attempts) == (attempts.start, last):
        return request
    return request.model_copy(update={"attempt": attempts.start, "max_attempts": last})


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(_plain(str(part)) for part in problem["loc"])
        lines.append(f"{where}={_shown(problem['input'])}: {problem['msg']}")
    return "; ".join(lines[:SHOWN_PROBLEMS])


def _shown(value: object) -> str:
    """What was given, as far as it helps."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def _plain(text: str) -> str:
    """A name that UTF-8 can encode and that is not too long for a message."""
    return text[:SHOWN_LENGTH].encode("utf-8", "backslashreplace").decode()
