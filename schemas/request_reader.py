"""Decodes requests fast by templates: requests that were decoded before.

A worker reads many requests of the same tenant, job type and producer: only id, ordering key, time of submission and
payload differ from one to the next. Everything else is in two runs of bytes that are equal in all of them, so what was
decoded and validated once holds for the next request. A request without a template is decoded by fastavro and validated
by pydantic. A test checks that both ways give the same result.
"""

import io
import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import fastavro

from millstream.schemas.codec import HEADER, Codec, schema_id_of
from millstream.schemas.event_bytes import fields_of, job_part
from millstream.schemas.job_request import JobRequest
from millstream.schemas.partial_encoder import long, microseconds

_ID_LENGTH = long(36)[0]
_LENGTH_AT = HEADER.size
_ID_AT = _LENGTH_AT + 1
_NAMES_AT = _ID_AT + 36
_LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999, the last of a datetime."""

_JOB_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NAMES_KEPT = 2_000
"""How many combinations of tenant, job type and lane have templates; the oldest are dropped first."""

TEMPLATES_KEPT = 8
"""Templates of each combination."""

LONGEST_KEY = 256
"""Characters of an ordering key, as `JobRequest` allows."""


class ReadRequest:
    """A decoded request.

    `template`: a request that equals it in all but id, ordering key, time of submission and payload. `key`: the key of
    the job's events, its id as bytes. `submitted_us`: microseconds since 1970. `job_part`: the bytes with which each
    event of the job begins. `request` is made when first used: most handlers do not need it.
    """

    __slots__ = ("_request", "job_part", "key", "ordering_key", "payload", "submitted_us", "template")

    def __init__(
        self, template: JobRequest, key: bytes, ordering_key: str, submitted_us: int, payload: bytes, job_part: bytes
    ) -> None:
        self.template = template
        self.key = key
        self.ordering_key = ordering_key
        self.submitted_us = submitted_us
        self.payload = payload
        self.job_part = job_part
        self._request: JobRequest | None = None

    @classmethod
    def of(cls, request: JobRequest, job_part: bytes) -> "ReadRequest":
        """A request without a template of another one."""
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
                "labels": self.template.labels.copy(),
            }
            self._request = self.template.model_copy(update=own)
        return self._request

    @property
    def due_us(self) -> int:
        """When it may start, in microseconds since 1970."""
        not_before = self.template.not_before
        return self.submitted_us if not_before is None else max(self.submitted_us, microseconds(not_before))


class _Template(NamedTuple):
    """The bytes that requests of one tenant, job type and lane share: from the ordering key to the time (`source`), and
    from there to the payload (`rest`, whose first `labels_end` bytes belong to the job part)."""

    source: bytes
    rest: bytes
    labels_end: int
    template: JobRequest


class RequestReader:
    """Reads the values of records on the lanes. Not thread-safe."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("JobRequest")
        self._templates: OrderedDict[bytes, list[_Template]] = OrderedDict()

    def read(self, data: bytes | None) -> ReadRequest:
        """The request in a record's value. Raises `DecodeError`."""
        if data is not None and data.startswith(self._header):
            try:
                return self._read_by_template(data) or self._read_without_template(data)
            except Exception:
                # The full decoder says what is wrong; if it finds nothing wrong, its result is as good.
                pass
        schema_id_of(data)
        request = self._codec.decode(data, JobRequest)
        return ReadRequest.of(request, job_part(request))

    def _read_by_template(self, data: bytes) -> ReadRequest | None:
        """The request, if it has a template."""
        names_end = _names_end(data)
        templates = self._templates.get(data[_NAMES_AT:names_end])
        if templates is None or data[_LENGTH_AT] != _ID_LENGTH or not _JOB_ID.fullmatch(data, _ID_AT, _NAMES_AT):
            return None
        key_length, at = _read_long(data, names_end)
        source_at = at + key_length
        for source, rest, labels_end, template in templates:
            if not data.startswith(source, source_at):
                continue
            submitted_us, rest_at = _read_long(data, source_at + len(source))
            if data.startswith(rest, rest_at):
                length, payload_at = _read_long(data, rest_at + len(rest))
                ordering_key = data[at:source_at].decode() if key_length else ""
                if payload_at + length != len(data) or len(ordering_key) > LONGEST_KEY or submitted_us > _LATEST_US:
                    return None
                return ReadRequest(
                    template,
                    data[_ID_AT:_NAMES_AT],
                    ordering_key,
                    submitted_us,
                    data[payload_at:],
                    data[HEADER.size : rest_at + labels_end],
                )
        return None

    def _read_without_template(self, data: bytes) -> ReadRequest:
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
        template = _Template(
            data[source_at:time_at],
            data[rest_at:payload_at],
            job_end - rest_at,
            request.model_copy(update={"payload": b"", "labels": request.labels.copy()}),
        )
        names = data[_NAMES_AT:names_end]
        templates = self._templates.setdefault(names, [])
        templates.insert(0, template)
        del templates[TEMPLATES_KEPT:]
        self._templates.move_to_end(names)
        if len(self._templates) > NAMES_KEPT:
            self._templates.popitem(last=False)


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
    """A non-negative whole number, and where it ends. Raises ValueError for a negative one and for more than 64
    bits."""
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
