"""A submission as bytes: a job's request and the `submitted` event that announces it.

Jobs that are submitted together differ in id, ordering key and payload, and often share the rest. What they share is
encoded once, as the pieces between the fields that differ (`event_bytes.py` says why an Avro body can be cut there); a
job is then a few joins.
"""

from dataclasses import dataclass

from millstream.schemas.codec import HEADER, Codec
from millstream.schemas.event_bytes import EventBytes, job_part
from millstream.schemas.ids import new_id
from millstream.schemas.job_event import EventKind
from millstream.schemas.job_request import JobRequest
from millstream.schemas.partial_encoder import long


@dataclass(frozen=True, slots=True)
class SubmissionBytes:
    """What jobs share that differ only in id, ordering key and payload. `names`: the bytes between id and ordering
    key."""

    request_head: bytes
    event_head: bytes
    names: bytes
    request_rest: bytes
    event_middle: bytes
    event_tail: bytes

    @classmethod
    def like(cls, request: JobRequest, codec: Codec) -> "SubmissionBytes":
        """The pieces for all jobs that differ from `request` only in id, ordering key and payload."""
        bare = request.model_copy(update={"ordering_key": "", "payload": b""})
        record = codec.encode(bare)
        events = EventBytes(codec)
        job, attempt = job_part(bare), events.attempt_part({})
        event = events.event(job, attempt, EventKind.SUBMITTED, bare.submitted_at)
        job_id = _string(bare.job_id.encode())
        names_at = HEADER.size + len(job_id)
        key_at = names_at + sum(len(_string(name.encode())) for name in (bare.tenant, bare.job_type, bare.lane))
        event_id_at, empty = HEADER.size + len(job) + len(attempt), len(_string(b""))
        return cls(
            request_head=record[: HEADER.size],
            event_head=event[: HEADER.size],
            names=record[names_at:key_at],
            request_rest=record[key_at + empty : -empty],
            event_middle=event[key_at + empty : event_id_at],
            event_tail=event[event_id_at + len(job_id) :],
        )

    def records(self, job_id: bytes, ordering_key: bytes, payload: bytes) -> tuple[bytes, bytes]:
        """The values of the request on its lane and of the event; the event's own id is new at each call."""
        start = _string(job_id) + self.names + _string(ordering_key)
        return (
            self.request_head + start + self.request_rest + _string(payload),
            self.event_head + start + self.event_middle + _string(new_id().encode()) + self.event_tail,
        )


def _string(content: bytes) -> bytes:
    """Bytes or text in Avro: the length, then the content."""
    return long(len(content)) + content
