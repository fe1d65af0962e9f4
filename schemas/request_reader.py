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
_LENGTH_AT = HEADER.size
_ID_AT = _LENGTH_AT + 1
_NAMES_AT = _ID_AT + 36
_LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999, the last that a datetime knows."""

_JOB_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NAMES_KEPT = 2_000
"""How many tenants, job types and lanes together are remembered; what was noted longest ago goes first."""

LIKENESSES_KEPT = 8
"""Of each, how many different likenesses are remembered."""

LONGEST_KEY = 256
"""Characters of an ordering key, as `JobRequest` allows."""


class ReadRequest:
    """A request that was read.

    `alike` is a request that is equal to it in all but id, ordering key, time of submission and payload. `key`: the key
    of the job's events, its id as bytes. `submitted_us`: microseconds since 1970. `job_part`: the bytes with which each
    event of the job begins. `request` is made when it is first asked for: most handlers do with less.
    """

    __slots__ = ("_request", "alike", "job_part", "key", "ordering_key", "payload", "submitted_us")

    def __init__(
        self, alike: JobRequest, key: bytes, ordering_key: str, submitted_us: int, payload: bytes, job_part: bytes
    ) -> None:
        self.alike = alike
        self.key = key
        self.ordering_key = ordering_key
        self.submitted_us = submitted_us
        self.payload = payload
        self.job_part = job_part
        self._request: JobRequest | None = None

    @classmethod
    def of(cls, request: JobRequest, job_part: bytes) -> "ReadRequest":
        """A request that was read whole."""
        submitted_us = microseconds(request.submitted_at)
        read = cls(request, request.job_id.encode(), request.ordering_key, submitted_us, request.payload, job_part)
        read._request = request
        return read

    @property
    def request(self) -> JobRequest:
        if self._request is None:
            own = {
                "job_id": self.key.decode(),
                "ordering_key": self.ordering_key,
                "submitted_at": _EPOCH + timedelta(microseconds=self.submitted_us),
                "payload": self.payload,
                "labels": self.alike.labels.copy(),
            }
            self._request = self.alike.model_copy(update=own)
        return self._request

    @property
    def due_us(self) -> int:
        """When it may start, in microseconds since 1970."""
        not_before = self.alike.not_before
        return self.submitted_us if not_before is None else max(self.submitted_us, microseconds(not_before))


class _Likeness(NamedTuple):
    """What requests of one tenant, job type and lane may share beside these names: the bytes from the ordering key to
    the time (`source`), and from there to the payload (`rest`, of which the first `labels_end` bytes still belong to
    the job part)."""

    source: bytes
    rest: bytes
    labels_end: int
    alike: JobRequest


class RequestReader:
    """Reads the values of records on the lanes. Not thread-safe."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("JobRequest")
        self._likenesses: OrderedDict[bytes, list[_Likeness]] = OrderedDict()

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
        return ReadRequest.of(request, job_part(request))

    def _read_alike(self, data: bytes) -> ReadRequest | None:
        """The request, when one with the same likeness was read before."""
        names_end = _names_end(data)
        likenesses = self._likenesses.get(data[_NAMES_AT:names_end])
        if likenesses is None or data[_LENGTH_AT] != _ID_LENGTH or not _JOB_ID.fullmatch(data, _ID_AT, _NAMES_AT):
            return None
        key_length, at = _read_long(data, names_end)
        source_at = at + key_length
        for source, rest, labels_end, alike in likenesses:
            if not data.startswith(source, source_at):
                continue
            submitted_us, rest_at = _read_long(data, source_at + len(source))
            if data.startswith(rest, rest_at):
                length, payload_at = _read_long(data, rest_at + len(rest))
                ordering_key = data[at:source_at].decode() if key_length else ""
                if payload_at + length != len(data) or len(ordering_key) > LONGEST_KEY or submitted_us > _LATEST_US:
                    return None
                return ReadRequest(
                    alike,
                    data[_ID_AT:_NAMES_AT],
                    ordering_key,
                    submitted_us,
                    data[payload_at:],
                    data[HEADER.size : rest_at + labels_end],
                )
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
        return ReadRequest.of(request, data[HEADER.size : job_end])

    def _remember(self, data: bytes, job_end: int, request: JobRequest) -> None:
        names_end = _names_end(data)
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
            request.model_copy(update={"payload": b"", "labels": request.labels.copy()}),
        )
        names = data[_NAMES_AT:names_end]
        likenesses = self._likenesses.setdefault(names, [])
        likenesses.insert(0, likeness)
        del likenesses[LIKENESSES_KEPT:]
        self._likenesses.move_to_end(names)
        if len(self._likenesses) > NAMES_KEPT:
            self._likenesses.popitem(last=False)


_JOB = fields_of("JobRequest", "job")
_REST = fields_of("JobRequest", None)


def _names_end(data: bytes) -> int:
    """Where tenant, job type and lane end."""
    at = _NAMES_AT
    for _ in range(3):
        length = data[at]
        if length < 0x80:
            at += 1 + (length >> 1)
        else:
            length, at = _read_long(data, at)
            at += length
    return at


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    """A whole number that is not negative, and where it ends. Raises ValueError for a negative one and for one of more
    than 64 bits."""
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
            if shift > 63 and byte > 1:
                raise ValueError("too long")
    if number & 1:
        raise ValueError("negative")
    return number >> 1, at + 1
