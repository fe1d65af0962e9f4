"""JobEvents as bytes: a prefix stored once and a short suffix for each event.

An Avro body is its fields one after the other. Each field of `JobEvent.avsc` says which `part` it belongs to: what is
constant for the job, for the attempt, or for one event. The bytes of a part are made once and joined, which costs a
tenth of encoding the whole record each time. Every JobRequest begins with the job part too, so a worker cuts it out of
the request that it has read (`request_reader.py`).
"""

import io
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import fastavro

from millstream.schemas.codec import Codec, reader_schema
from millstream.schemas.ids import new_id
from millstream.schemas.job_event import EventKind
from millstream.schemas.job_request import JobRequest
from millstream.schemas.partial_encoder import PartialEncoder
from millstream.schemas.registry import Schema, current_schema


def fields_of(record: str, part: str | None) -> Any:
    """A schema of only those fields of `record` that belong to `part`; None for those that belong to none."""
    schema = reader_schema(record)
    names = [field["name"] for field in current_schema(record)["fields"] if field.get("part") == part]
    kept: list[Schema] = [field for field in schema["fields"] if field["name"] in names]
    return fastavro.parse_schema({"type": "record", "name": f"{record}_{part}", "fields": kept})


_JOB = fields_of("JobEvent", "job")
_ATTEMPT = fields_of("JobEvent", "attempt")
_EVENT_FIELDS = fields_of("JobEvent", "event")
_EVENT = PartialEncoder(_EVENT_FIELDS, {})


def job_part(request: JobRequest) -> bytes:
    """The bytes with which each event of this job begins."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _JOB, request.__dict__)
    return out.getvalue()


class EventBytes:
    """Makes the bytes of events. Thread-safe. `place`: the values of attempt fields that are not given, such as the
    worker's id. A time is an aware datetime, or microseconds since 1970."""

    def __init__(self, codec: Codec, place: Mapping[str, Any] | None = None) -> None:
        self.header = codec.header("JobEvent")
        self._attempt = PartialEncoder(_ATTEMPT, place or {})

    def attempt_part(self, fields: Mapping[str, Any]) -> bytes:
        """The bytes of an attempt's constant fields; absent ones have the values of `place`, or their defaults."""
        return self._attempt.encode(fields)

    def attempt_encoder(self, *names: str) -> Callable[..., bytes]:
        """`attempt_part` for a fixed set of fields: a function of their values."""
        return self._attempt.encoder(*names)

    def event(
        self,
        job_part: bytes,
        attempt_part: bytes,
        kind: EventKind,
        occurred_at: datetime | int,
        **fields: Any,
    ) -> bytes:
        """The whole record: header, the two stored parts, and the fields of this event."""
        return self.header + job_part + attempt_part + event_part(kind, occurred_at, **fields)


def event_part(kind: EventKind, occurred_at: datetime | int, **fields: Any) -> bytes:
    """The bytes of the fields of one event; its id is new at each call."""
    return _EVENT.encode({"event_id": new_id(), "kind": kind, "occurred_at": occurred_at, **fields})


def event_encoder(*names: str, **always: Any) -> Callable[..., bytes]:
    """`event_part` for a fixed set of fields: a function of the event id and their values. `always`: constant
    fields."""
    return PartialEncoder(_EVENT_FIELDS, always).encoder("event_id", *names)
