"""Reading requests, fast, when they are like others that were read before.

A worker meets many requests of the same tenant, job type and producer: only id, ordering key, time of submission and
payload differ from one to the next. All else lies in two runs of bytes that are equal in all of them, so what was read
and checked once in one request holds for the next. A request that is like none before is read by fastavro and checked
by pydantic. A test holds the two ways to the same result.
"""

import io
import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import fastavro

from millstream.schemas.avro_part import long, microseconds
from millstream.schemas.codec import HEADER, Codec, schema_id_of
from millstream.schemas.event_bytes import fields_of, job_part
from millstream.schemas.models import JobRequest

_ID_LENGTH = long(36)[0]
_ID_AT = HEADER.size + 1
_NAMES_AT = _ID_AT + 36
_JOB_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

KINDS_KEPT = 2_000
"""Combinations of tenant, job type and lane that are remembered; the one that was noted longest ago goes first."""

LIKENESSES_KEPT = 4
"""Of each combination, how many different rests are remembered."""


class ReadRequest(NamedTuple):
    """A request that was read. `job_part`: the bytes with which each event of its job begins; `key`: the key of its
    events; `due_us`: when it may start, in microseconds since 1970."""

    request: JobRequest
    job_part: bytes
    key: bytes
    due_us: int


class _Likeness(NamedTuple):
    """What requests may share: the bytes between ordering key and time (`source`), and between time and payload
    (`rest`, of which the first `labels_end` bytes still belong to the job part), and the fields that they hold."""

    source: bytes
    rest: bytes
    labels_end: int
    fields: dict[str, Any]
    fields_set: set[str]


class RequestReader:
    """Reads the values of records on the lanes. Not thread-safe."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("JobRequest")
        self._kinds: OrderedDict[bytes, list[_Likeness]] = OrderedDict()

    def read(self, data: bytes | None) -> ReadRequest:
        """The request in a record's value. Raises `DecodeError`."""
        if data is not None and data.startswith(self._header):
            try:
                return self._read_alike(data) or self._read_anew(data)
            except Exception:
                # The careful reader says what is wrong; should it find nothing wrong, its answer is as good.
                pass
        schema_id_of(data)
        request = self._codec.decode(data, JobRequest)
        return ReadRequest(request, job_part(request), request.job_id.encode(), _due_us(request))

    def _read_alike(self, data: bytes) -> ReadRequest | None:
        """The request, when one of the same kind with the same likeness was read before."""
        if data[HEADER.size] != _ID_LENGTH:
            return None
        at = _after_names(data)
        likenesses = self._kinds.get(data[_NAMES_AT:at])
        if likenesses is None or not _JOB_ID.fullmatch(data, _ID_AT, _NAMES_AT):
            return None
        key_length, at = _read_long(data, at)
        ordering_key = data[at : at + key_length].decode() if key_length else ""
        at += key_length
        for likeness in likenesses:
            if data.startswith(likeness.source, at):
                time, rest_at = _read_long(data, at + len(likeness.source))
                if data.startswith(likeness.rest, rest_at):
                    length, payload_at = _read_long(data, rest_at + len(likeness.rest))
                    if len(ordering_key) > 256 or payload_at + length != len(data):
                        return None
                    fields = likeness.fields.copy()
                    key = data[_ID_AT:_NAMES_AT]
                    fields["job_id"] = key.decode()
                    fields["ordering_key"] = ordering_key
                    fields["submitted_at"] = _EPOCH + timedelta(microseconds=time)
                    fields["payload"] = data[payload_at:]
                    if fields["labels"]:
                        fields["labels"] = fields["labels"].copy()
                    request = _checked(fields, likeness.fields_set)
                    due_us = time if request.not_before is None else _due_us(request)
                    return ReadRequest(request, data[HEADER.size : rest_at + likeness.labels_end], key, due_us)
        return None

    def _read_anew(self, data: bytes) -> ReadRequest:
        body = io.BytesIO(data)
        body.seek(HEADER.size)
        fields: Any = fastavro.schemaless_reader(body, _JOB)
        job_end = body.tell()
        fields.update(fastavro.schemaless_reader(body, _REST))
        request = JobRequest.model_validate(fields)
        if body.tell() == len(data):
            self._remember(data, job_end, request)
        return ReadRequest(request, data[HEADER.size : job_end], request.job_id.encode(), _due_us(request))

    def _remember(self, data: bytes, job_end: int, request: JobRequest) -> None:
        names_end = _after_names(data)
        key_length, at = _read_long(data, names_end)
        source_at = at + key_length
        source_length, at = _read_long(data, source_at)
        time_at = at + source_length
        _, rest_at = _read_long(data, time_at)
        payload_at = len(data) - len(request.payload) - len(long(len(request.payload)))
        likeness = _Likeness(
            data[source_at:time_at],
            data[rest_at:payload_at],
            job_end - rest_at,
            {**request.__dict__, "labels": request.labels.copy()},
            request.model_fields_set,
        )
        likenesses = self._kinds.setdefault(data[_NAMES_AT:names_end], [])
        likenesses.insert(0, likeness)
        del likenesses[LIKENESSES_KEPT:]
        self._kinds.move_to_end(data[_NAMES_AT:names_end])
        if len(self._kinds) > KINDS_KEPT:
            self._kinds.popitem(last=False)


_JOB = fields_of("JobRequest", "job")
_REST = fields_of("JobRequest", None)

_set: Any = object.__setattr__


def _checked(fields: dict[str, Any], fields_set: set[str]) -> JobRequest:
    """A model of fields that hold, without checking them again: what `model_construct` does, in a fifth of the time."""
    request = JobRequest.__new__(JobRequest)
    _set(request, "__dict__", fields)
    _set(request, "__pydantic_fields_set__", fields_set)
    _set(request, "__pydantic_extra__", None)
    _set(request, "__pydantic_private__", None)
    return request


def _due_us(request: JobRequest) -> int:
    return microseconds(max(request.submitted_at, request.not_before or request.submitted_at))


def _after_names(data: bytes) -> int:
    """Where tenant, job type and lane end."""
    at = _NAMES_AT
    for _ in range(3):
        length, at = _read_long(data, at)
        at += length
    return at


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    """A whole number that is not negative, and where it ends. Raises ValueError for a negative one."""
    byte = data[at]
    if byte < 0x80:
        number = byte
    else:
        number, shift = byte & 0x7F, 7
        while byte >= 0x80:
            at += 1
            byte = data[at]
            number |= (byte & 0x7F) << shift
            shift += 7
    if number & 1:
        raise ValueError("negative")
    return number >> 1, at + 1
