"""Decodes requests fast by templates: requests that were decoded before.

A worker reads many requests of the same job type and producer. Some fields differ from one to the next: id, tenant,
ordering key, times, trace, labels and payload. They are cut out of the bytes and checked one by one. Everything else is
in three runs of bytes that are equal in all of them, so what was decoded and validated once holds for the next request.
A request without a template is decoded by fastavro and validated by pydantic. A test checks that both ways give the
same result.
"""

import io
import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import fastavro

from millstream.schemas.codec import HEADER, Codec, schema_id_of
from millstream.schemas.event_bytes import fields_of, job_part
from millstream.schemas.job_request import MAX_LABEL_BYTES, MAX_LABELS, JobRequest
from millstream.schemas.partial_encoder import long, microseconds

_ID_LENGTH = long(36)[0]
_TRACE_LENGTH = long(55)[0]
_LENGTH_AT = HEADER.size
_ID_AT = _LENGTH_AT + 1
_NAMES_AT = _ID_AT + 36
_LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999, the last of a datetime."""

_JOB_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TENANT = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_LABELS: dict[str, str] = {}

NAMES_KEPT = 2_000
"""How many combinations of job type and lane have templates; the oldest are dropped first."""

TEMPLATES_KEPT = 8
"""Templates of each combination."""

TEMPLATE_BYTES = 16 * 1024 * 1024
"""Bytes of all templates; the oldest are dropped first."""

TENANTS_KEPT = 20_000
"""Names of tenants that need no check, 5 MB of them; with more all are forgotten."""

LONGEST_KEY = 256
"""Characters of an ordering key, as `JobRequest` allows."""


class ReadRequest:
    """A decoded request.

    `shared`: a request that equals it in job type, lane, source, attempts, time limit and content type; nothing else of
    it holds. `key`: the key of the job's events, its id as bytes. Times in `_us` are microseconds since 1970.
    `job_part`: the bytes with which each event of the job begins. `request` is made when first used: most handlers do
    not need it.
    """

    __slots__ = (
        "_labels",
        "_request",
        "deadline_us",
        "job_part",
        "key",
        "not_before_us",
        "ordering_key",
        "payload",
        "shared",
        "submitted_us",
        "tenant",
        "traceparent",
    )

    def __init__(
        self,
        shared: JobRequest,
        key: bytes,
        tenant: str,
        ordering_key: str,
        submitted_us: int,
        traceparent: str,
        labels: dict[str, str],
        not_before_us: int | None,
        deadline_us: int | None,
        payload: bytes,
        job_part: bytes,
    ) -> None:
        self.shared = shared
        self.key = key
        self.tenant = tenant
        self.ordering_key = ordering_key
        self.submitted_us = submitted_us
        self.traceparent = traceparent
        self.not_before_us = not_before_us
        self.deadline_us = deadline_us
        self.payload = payload
        self.job_part = job_part
        self._labels = labels
        self._request: JobRequest | None = None

    @classmethod
    def of(cls, request: JobRequest, job_part: bytes) -> "ReadRequest":
        """A request without a template of another one."""
        read = cls(
            request,
            request.job_id.encode(),
            request.tenant,
            request.ordering_key,
            microseconds(request.submitted_at),
            request.traceparent,
            request.labels,
            None if request.not_before is None else microseconds(request.not_before),
            None if request.deadline is None else microseconds(request.deadline),
            request.payload,
            job_part,
        )
        read._request = request
        return read

    @property
    def request(self) -> JobRequest:
        if self._request is None:
            own = {
                "job_id": self.key.decode(),
                "tenant": self.tenant,
                "ordering_key": self.ordering_key,
                "submitted_at": _moment(self.submitted_us),
                "traceparent": self.traceparent,
                "labels": self._labels.copy(),
                "not_before": None if self.not_before_us is None else _moment(self.not_before_us),
                "deadline": self.deadline,
                "payload": self.payload,
            }
            self._request = self.shared.model_copy(update=own)
        return self._request

    @property
    def due_us(self) -> int:
        """When it may start."""
        return self.submitted_us if self.not_before_us is None else max(self.submitted_us, self.not_before_us)

    @property
    def deadline(self) -> datetime | None:
        """When its result is of no use any more."""
        return None if self.deadline_us is None else _moment(self.deadline_us)


class _Template(NamedTuple):
    """The runs of bytes that requests of one job type and lane share: the source; how many attempts; the time limit and
    the content type."""

    source: bytes
    attempts: bytes
    tail: bytes
    shared: JobRequest

    @property
    def size(self) -> int:
        """Bytes of memory: what differs, as bytes and as text of up to four bytes a character, and the objects."""
        return 5 * (len(self.source) + len(self.tail)) + 3_000


class RequestReader:
    """Reads the values of records on the lanes. Not thread-safe."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("JobRequest")
        self._templates: OrderedDict[bytes, list[_Template]] = OrderedDict()
        self._template_bytes = 0
        self._tenants: dict[bytes, str] = {}

    def read(self, data: bytes | None) -> ReadRequest:
        """The request in a record's value. Raises `DecodeError`, and `RegistryUnavailable`."""
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
        """The request, if it has a template. Raises whatever damaged bytes lead to."""
        type_at = _after_string(data, _NAMES_AT)
        key_at = _after_string(data, _after_string(data, type_at))
        templates = self._templates.get(data[type_at:key_at])
        if templates is None or data[_LENGTH_AT] != _ID_LENGTH or not _JOB_ID.fullmatch(data, _ID_AT, _NAMES_AT):
            return None
        name = data[_NAMES_AT:type_at]
        tenant = self._tenants.get(name) or self._tenant(name)
        source_at = _after_string(data, key_at)
        ordering_key = "" if source_at == key_at + 1 else _text(data, key_at, source_at)
        if len(ordering_key) > LONGEST_KEY:
            return None
        for source, attempts, tail, shared in templates:
            if not data.startswith(source, source_at):
                continue
            submitted_us, trace_at = _read_time(data, source_at + len(source))
            labels_at = trace_at + 1
            traceparent, labels = "", _NO_LABELS
            if data[trace_at]:
                labels_at += 55
                if data[trace_at] != _TRACE_LENGTH or not _TRACE.fullmatch(data, trace_at + 1, labels_at):
                    return None
                traceparent = data[trace_at + 1 : labels_at].decode()
            at = labels_at + 1
            if data[labels_at]:
                labels, at = _read_labels(data, labels_at)
            labels_end = at
            if not data.startswith(attempts, at):
                continue
            at += len(attempts)
            not_before_us, at = _read_optional_time(data, at) if data[at] else (None, at + 1)
            deadline_us, at = _read_optional_time(data, at) if data[at] else (None, at + 1)
            if not data.startswith(tail, at):
                continue
            length, payload_at = _read_long(data, at + len(tail))
            if payload_at + length != len(data):
                return None
            return ReadRequest(
                shared,
                data[_ID_AT:_NAMES_AT],
                tenant,
                ordering_key,
                submitted_us,
                traceparent,
                labels,
                not_before_us,
                deadline_us,
                data[payload_at:],
                data[_LENGTH_AT:labels_end],
            )
        return None

    def _tenant(self, name: bytes) -> str:
        """The tenant of these bytes, its length and its name. Raises ValueError when it is none."""
        _, at = _read_long(name, 0)
        if not _TENANT.fullmatch(name, at):
            raise ValueError("not a name")
        if len(self._tenants) >= TENANTS_KEPT:
            self._tenants.clear()
        tenant = self._tenants[name] = name[at:].decode()
        return tenant

    def _read_without_template(self, data: bytes) -> ReadRequest:
        body = io.BytesIO(data)
        body.seek(HEADER.size)
        fields: Any = fastavro.schemaless_reader(body, _JOB)
        job_end = body.tell()
        fields.update(fastavro.schemaless_reader(body, _REST))
        request = JobRequest.model_validate(fields)
        own = data[HEADER.size : job_end]
        # Bytes may say the same in many ways, such as a label a thousand times, and each event begins with them.
        job = job_part(request)
        if own == job and body.tell() == len(data):
            self._remember(data, job_end, request)
        return ReadRequest.of(request, job)

    def _remember(self, data: bytes, attempts_at: int, request: JobRequest) -> None:
        type_at = _after_string(data, _NAMES_AT)
        key_at = _after_string(data, _after_string(data, type_at))
        source_at = _after_string(data, key_at)
        time_at = _after_string(data, source_at)
        _, at = _read_long(data, attempts_at)
        _, times_at = _read_long(data, at)
        tail_at = times_at
        for _ in range(2):
            tail_at = _read_optional_time(data, tail_at)[1] if data[tail_at] else tail_at + 1
        payload_at = len(data) - len(request.payload) - len(long(len(request.payload)))
        template = _Template(
            data[source_at:time_at],
            data[attempts_at:times_at],
            data[tail_at:payload_at],
            request.model_copy(update={"payload": b"", "labels": {}, "ordering_key": ""}),
        )
        names = data[type_at:key_at]
        templates = self._templates.setdefault(names, [])
        templates.insert(0, template)
        dropped = templates[TEMPLATES_KEPT:]
        del templates[TEMPLATES_KEPT:]
        self._templates.move_to_end(names)
        self._template_bytes += template.size - sum(each.size for each in dropped)
        while len(self._templates) > NAMES_KEPT or self._template_bytes > TEMPLATE_BYTES:
            _, oldest = self._templates.popitem(last=False)
            self._template_bytes -= sum(each.size for each in oldest)


_JOB = fields_of("JobRequest", "job")
_REST = fields_of("JobRequest", None)


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _after_string(data: bytes, at: int) -> int:
    """Where the string that begins at `at` ends. Raises ValueError for a negative length."""
    length = data[at]
    if length < 0x80:
        if length & 1:
            raise ValueError("negative")
        return at + 1 + (length >> 1)
    length, at = _read_long(data, at)
    return at + length


def _text(data: bytes, at: int, end: int) -> str:
    """The string between its length at `at` and `end`."""
    return data[at + (1 if data[at] < 0x80 else _read_long(data, at)[1] - at) : end].decode()


def _read_labels(data: bytes, at: int) -> tuple[dict[str, str], int]:
    """The labels, and where they end. Raises ValueError for what `JobRequest` does not allow, and for more than one
    block, which Avro allows."""
    count, at = _read_long(data, at)
    if count > MAX_LABELS:
        raise ValueError("too many")
    first = at
    labels = {}
    for _ in range(count):
        value_at = _after_string(data, at)
        end = _after_string(data, value_at)
        labels[_text(data, at, value_at)] = _text(data, value_at, end)
        at = end
    if at - first > MAX_LABEL_BYTES:
        # Perhaps: the lengths are counted too.
        raise ValueError("too large")
    if data[at]:
        raise ValueError("more than one block")
    return labels, at + 1


def _read_optional_time(data: bytes, at: int) -> tuple[int, int]:
    """A time that is there, and where it ends."""
    if data[at] != 2:
        raise ValueError("not a branch of the union")
    return _read_time(data, at + 1)


def _read_time(data: bytes, at: int) -> tuple[int, int]:
    """Microseconds since 1970, and where they end. Raises ValueError for a time before 1970 or after 9999."""
    eight = int.from_bytes(data[at : at + 8], "little")
    if eight & 0x8080808080808081 == 0x0080808080808080:
        # Eight bytes, as for all times from 1978 to 3111: join their seven bits each, two, four and eight at a time.
        pairs = (eight & 0x7F007F007F007F00) >> 1 | eight & 0x007F007F007F007F
        fours = (pairs & 0x3FFF00003FFF0000) >> 2 | pairs & 0x00003FFF00003FFF
        return ((fours & 0x0FFFFFFF00000000) >> 4 | fours & 0x000000000FFFFFFF) >> 1, at + 8
    moment_us, at = _read_long(data, at)
    if moment_us > _LATEST_US:
        raise ValueError("after the last of all times")
    return moment_us, at


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
