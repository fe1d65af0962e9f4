"""JobEvents as bytes: a prefix stored once and a short suffix for each event.

An Avro body is its fields one after the other. Each field of `JobEvent.avsc` says which `part` it belongs to: what is
constant for the job, for the attempt, or for one event. A part's bytes are made once and joined, which costs a tenth
of encoding the whole record each time. The job part is also how every JobRequest begins, so a worker cuts it out of
the request it just read.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fastavro

from millstream.schemas.avro_part import AvroPart
from millstream.schemas.codec import HEADER, Codec, reader_schema, schema_id_of
from millstream.schemas.models import EventKind, JobRequest, new_id
from millstream.schemas.registry import Schema, current_schema


def _fields(record: str, part: str | None) -> Any:
    """A schema of only those fields of `record` that belong to `part`."""
    schema = reader_schema(record)
    names = [field["name"] for field in current_schema(record)["fields"] if field.get("part") == part]
    kept: list[Schema] = [field for field in schema["fields"] if field["name"] in names]
    return fastavro.parse_schema({"type": "record", "name": f"{record}_{part}", "fields": kept})


_JOB = _fields("JobEvent", "job")
_ATTEMPT = _fields("JobEvent", "attempt")
_EVENT = AvroPart(_fields("JobEvent", "event"), {})
_REQUEST_REST = _fields("JobRequest", None)


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request that was read, and the bytes with which each event of its job begins."""

    request: JobRequest
    job_part: bytes


class EventBytes:
    """Makes the bytes of events. Thread-safe. `place`: the values that fields of every attempt have unless they are
    given, such as the worker's name."""

    def __init__(self, codec: Codec, place: Mapping[str, Any] | None = None) -> None:
        self._codec = codec
        self._attempt = AvroPart(_ATTEMPT, place or {})
        self._header = codec.header("JobEvent")
        self._request_id = codec.registry.id_of("JobRequest")

    def read_request(self, data: bytes | None) -> ReadRequest:
        """The request in a record's value. Raises `DecodeError`."""
        if schema_id_of(data) != self._request_id:
            request = self._codec.decode(data, JobRequest)
            return ReadRequest(request, self.job_part(request))
        assert data is not None
        body = io.BytesIO(data)
        body.seek(HEADER.size)
        try:
            job: Any = fastavro.schemaless_reader(body, _JOB)
            end = body.tell()
            job.update(fastavro.schemaless_reader(body, _REQUEST_REST))
            return ReadRequest(JobRequest.model_validate(job), data[HEADER.size : end])
        except Exception:
            # The careful reader says what is wrong; should it find nothing wrong, its answer is as good.
            request = self._codec.decode(data, JobRequest)
            return ReadRequest(request, self.job_part(request))

    def job_part(self, request: JobRequest) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, _JOB, request.__dict__)
        return out.getvalue()

    def attempt_part(self, fields: Mapping[str, Any]) -> bytes:
        """The bytes of an attempt's constant fields; absent ones are as of `place`, or take their defaults."""
        return self._attempt.encode(fields)

    def event(
        self,
        job_part: bytes,
        attempt_part: bytes,
        kind: EventKind,
        occurred_at: datetime,
        **fields: Any,
    ) -> bytes:
        """The whole record: header, the two stored parts, and what is particular to this event."""
        suffix = _EVENT.encode({"event_id": new_id(), "kind": kind, "occurred_at": occurred_at, **fields})
        return self._header + job_part + attempt_part + suffix
