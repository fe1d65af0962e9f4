"""Events as the tracker uses them: decoded without a model, and within bounds."""

from typing import Any, NamedTuple

from millstream.redaction import Redaction
from millstream.schemas import Codec, DecodeError, EventKind
from millstream.streams import bounds

_KINDS = {kind.value: kind for kind in EventKind}


class EventRejected(ValueError):
    """An event that neither a producer nor a worker of Millstream writes. The text names the field, not its value."""


class Event(NamedTuple):
    """What of a `JobEvent` a state is made of. Times are microseconds since 1970."""

    job_id: str
    tenant: str
    job_type: str
    lane: str
    submitted_at: int
    labels: dict[str, str]
    attempt: int
    execution_id: str | None
    worker_id: str
    host: str
    started_at: int | None
    wait_ms: float | None
    event_id: str
    kind: EventKind
    occurred_at: int
    final: bool
    run_ms: float | None
    progress: float | None
    message: str
    error_type: str
    error_message: str


class EventReader:
    """Reads events from bytes."""

    def __init__(self, codec: Codec, redaction: Redaction | None = None) -> None:
        """`redaction` is applied to the texts of events that say something."""
        self._codec = codec
        self._redact = redaction or Redaction()

    def read(self, data: bytes | None, appended_at: int) -> Event:
        """The event in `data`, which the broker appended at this time (microseconds since 1970).

        Raises `EventRejected`, and what `Codec.decode` does: `DecodeError`, whose cause is a `NewerSchema` when a newer
        release can read it, and `RegistryUnavailable`.
        """
        fields = self._codec.fields(data, "JobEvent")
        try:
            event = within_bounds(fields, appended_at)
        except EventRejected:
            raise
        except Exception as error:
            # A schema of somebody's own may give a field any type.
            raise DecodeError(f"not a JobEvent: {type(error).__name__}") from error
        if event.message or event.error_message:
            return event._replace(message=self._redact(event.message), error_message=self._redact(event.error_message))
        return event


def within_bounds(fields: dict[str, Any], appended_at: int) -> Event:
    """The event of these fields. Raises `EventRejected` when it cannot be one.

    A submission further ahead than clocks are apart counts as the earliest there is: every event of it gets the same
    time, and one with a time that can be outranks it. Of the other times the one of the append is used instead.
    """
    job_id, execution_id, event_id, attempt = (
        fields["job_id"],
        fields["execution_id"],
        fields["event_id"],
        fields["attempt"],
    )
    tenant, job_type, lane = fields["tenant"], fields["job_type"], fields["lane"]
    if not bounds.JOB_ID.fullmatch(job_id):
        raise EventRejected("job_id is not a UUID in lower case")
    if len(tenant) > bounds.MAX_ID or len(job_type) > bounds.MAX_ID or len(lane) > bounds.MAX_ID:
        raise EventRejected(f"tenant, job_type or lane has more than {bounds.MAX_ID} characters")
    if len(event_id) > bounds.MAX_ID or (execution_id and len(execution_id) > bounds.MAX_ID):
        raise EventRejected(f"event_id or execution_id has more than {bounds.MAX_ID} characters")
    if not 0 <= attempt <= bounds.MAX_INT:
        raise EventRejected(f"attempt is not between 0 and {bounds.MAX_INT}")
    latest = appended_at + bounds.CLOCKS_APART_US
    submitted_at, started_at, occurred_at = fields["submitted_at"], fields["started_at"], fields["occurred_at"]
    return Event(
        job_id,
        tenant,
        job_type,
        lane,
        submitted_at if 0 <= submitted_at <= latest else 0,
        bounds.labels(fields["labels"]),
        attempt,
        execution_id or None,
        bounds.name(fields["worker_id"]),
        bounds.name(fields["host"]),
        started_at if started_at is None or 0 <= started_at <= latest else appended_at,
        bounds.finite(fields["wait_ms"]),
        event_id,
        _KINDS[fields["kind"]],
        occurred_at if 0 <= occurred_at <= latest else appended_at,
        fields["final"],
        bounds.finite(fields["run_ms"]),
        bounds.finite(fields["progress"]),
        bounds.text(fields["message"]),
        bounds.name(fields["error_type"]),
        bounds.text(fields["error_message"]),
    )
