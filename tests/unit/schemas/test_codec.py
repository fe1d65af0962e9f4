"""Records on the wire: what was written is what is read, and damage is named, never fatal."""

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import schemas
from millstream.schemas import (
    Codec,
    DeadLetter,
    DeadReason,
    DecodeError,
    EventBytes,
    EventKind,
    Heartbeat,
    InFlight,
    JobEvent,
    JobRequest,
    PinnedRegistry,
    RequestReader,
    SubmissionBytes,
    job_part,
)
from millstream.schemas.codec import HEADER
from millstream.schemas.ids import new_id
from millstream.schemas.record import Record
from millstream.schemas.registry import (
    NEWER_IDS,
    NewerSchema,
    UnannouncedSchema,
    current_schema,
    pinned_schemas,
)

CODEC = Codec()

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
moments = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)
requests = st.builds(
    JobRequest,
    tenant=names,
    job_type=names,
    lane=names,
    ordering_key=st.text(max_size=20),
    source=st.text(max_size=20),
    submitted_at=moments,
    traceparent=st.just(""),
    labels=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    attempt=st.integers(1, 100),
    max_attempts=st.integers(1, 100),
    not_before=st.none() | moments,
    deadline=st.none() | moments,
    timeout_ms=st.none() | st.integers(1, 10**9),
    content_type=st.just("application/json"),
    payload=st.binary(max_size=200),
)


@given(requests)
def test_a_request_survives_the_wire(request: JobRequest) -> None:
    assert CODEC.decode(CODEC.encode(request), JobRequest) == request


@given(requests)
def test_every_event_of_a_job_begins_with_the_bytes_of_its_request(request: JobRequest) -> None:
    events = EventBytes(CODEC)
    read = RequestReader(CODEC).read(CODEC.encode(request))
    assert read.request == request
    assert read.job_part == job_part(request)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    attempt = events.attempt_part({"attempt": 3, "worker_id": "w", "started_at": now, "wait_ms": 1.5})
    event = CODEC.decode(events.event(read.job_part, attempt, EventKind.FAILED, now, run_ms=2.5, final=True), JobEvent)
    assert (event.job_id, event.labels, event.submitted_at) == (request.job_id, request.labels, request.submitted_at)
    assert (event.attempt, event.worker_id, event.started_at, event.wait_ms) == (3, "w", now, 1.5)
    assert (event.kind, event.occurred_at, event.run_ms, event.final) == (EventKind.FAILED, now, 2.5, True)


@given(requests, st.text(max_size=20), st.binary(max_size=9000))
def test_submissions_that_share_their_bytes_are_the_bytes_of_each_request(
    first: JobRequest, ordering_key: str, payload: bytes
) -> None:
    first = first.model_copy(update={"attempt": 1})
    second = first.model_copy(update={"job_id": new_id(), "ordering_key": ordering_key, "payload": payload})
    shared = SubmissionBytes.like(first, CODEC)
    for request in (first, second):
        record, event = shared.records(request.job_id.encode(), request.ordering_key.encode(), request.payload)
        assert record == CODEC.encode(request)
        announced = CODEC.decode(event, JobEvent)
        expected = EventBytes(CODEC)
        assert event[5:].startswith(job_part(request) + expected.attempt_part({}))
        assert (announced.kind, announced.occurred_at) == (EventKind.SUBMITTED, request.submitted_at)
        assert announced.event_id != request.job_id


def test_records_with_lists_and_bytes_survive_the_wire() -> None:
    now = datetime.now(UTC)
    heartbeat = Heartbeat(worker_id="w", lanes=["high"], in_flight=[InFlight(job_id=new_id(), attempt=1, since=now)])
    letter = DeadLetter(reason=DeadReason.UNREADABLE, topic="t", partition=1, offset=2, record_value=b"\x00\xff")
    assert CODEC.decode(CODEC.encode(heartbeat), Heartbeat) == heartbeat
    assert CODEC.decode(CODEC.encode(letter), DeadLetter) == letter


@given(st.binary(max_size=300))
def test_garbage_is_a_decode_error_and_nothing_else(data: bytes) -> None:
    for attempt in (data, b"\x00" + struct.pack(">I", 1) + data):
        try:
            RequestReader(CODEC).read(attempt)
        except DecodeError as error:
            assert str(error)


@given(requests, st.data())
def test_a_truncated_request_is_a_decode_error(request: JobRequest, data: st.DataObject) -> None:
    whole = CODEC.encode(request)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(DecodeError):
        RequestReader(CODEC).read(cut)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "0 bytes are too few"),
        (b"", "0 bytes are too few"),
        (b'{"json": true}', "first byte is 0x7b"),
        (b"\x00\x00\x00\x03\xe7abc", "schema id 999 is not one of the pinned ones"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_bytes(data: bytes | None, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        CODEC.decode(data, JobRequest)


@pytest.mark.parametrize(("above", "newer"), [(1, True), (NEWER_IDS, True), (NEWER_IDS + 1, False)])
def test_an_id_a_little_above_the_known_ones_is_a_newer_release_and_one_far_above_is_garbage(
    above: int, newer: bool
) -> None:
    schema_id = max(pinned_schemas()) + above
    for read in (lambda data: CODEC.decode(data, JobRequest), RequestReader(CODEC).read):
        with pytest.raises(DecodeError, match="not one of the pinned ones") as caught:
            read(HEADER.pack(0, schema_id) + b"abc")
        assert isinstance(caught.value.__cause__, NewerSchema) == newer


@pytest.mark.parametrize(("announced", "newer"), [(0, False), (1, False), (2, True), (3, True)])
def test_an_id_that_no_release_has_announced_is_not_believed(announced: int, newer: bool) -> None:
    known = max(pinned_schemas())
    codec = Codec(PinnedRegistry(lambda: known + announced))
    with pytest.raises(DecodeError, match="not one of the pinned ones") as caught:
        codec.decode(HEADER.pack(0, known + 2) + b"abc", JobRequest)
    assert isinstance(caught.value.__cause__, NewerSchema if newer else UnannouncedSchema)


def test_a_record_of_another_kind_is_refused() -> None:
    event = JobEvent(
        job_id=new_id(), tenant="a", job_type="b", lane="default", submitted_at=datetime.now(UTC), kind=EventKind.LOST
    )
    with pytest.raises(DecodeError):
        CODEC.decode(CODEC.encode(event), JobRequest)


def test_a_record_written_with_an_older_schema_is_read_with_its_defaults() -> None:
    older = {**current_schema("JobRequest")}
    older["fields"] = [field for field in older["fields"] if field["name"] not in ("max_attempts", "deadline")]

    class Older(PinnedRegistry):
        def schema_of(self, schema_id: int) -> dict[str, object]:
            return older if schema_id == 77 else super().schema_of(schema_id)

    import io

    import fastavro

    from millstream.schemas.codec import HEADER, parse

    request = JobRequest(tenant="acme", job_type="a", payload=b"{}")
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parse(older), request.__dict__)
    codec = Codec(Older())
    read = RequestReader(codec).read(HEADER.pack(0, 77) + body.getvalue())
    assert read.request == request
    assert read.job_part == job_part(request)


@pytest.mark.parametrize("schema", pinned_schemas().values(), ids=lambda schema: schema["name"])
def test_models_and_schemas_have_the_same_fields_in_the_same_order(schema: dict[str, object]) -> None:
    name = str(schema["name"])
    model: type[Record] = getattr(schemas, name)
    fields = [field["name"] for field in current_schema(name)["fields"]]
    assert fields == list(model.model_fields)
    assert all(field.get("doc") for field in current_schema(name)["fields"])


def test_the_job_part_of_events_is_the_beginning_of_requests() -> None:
    parts = {
        record: [field for field in current_schema(record)["fields"] if field.get("part") == "job"]
        for record in ("JobRequest", "JobEvent")
    }
    assert parts["JobRequest"] == parts["JobEvent"]
    for record, fields in parts.items():
        assert current_schema(record)["fields"][: len(fields)] == fields


def test_parts_of_an_event_follow_each_other() -> None:
    order = [field["part"] for field in current_schema("JobEvent")["fields"]]
    assert order == sorted(order, key=["job", "attempt", "event"].index)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        JobRequest(tenant="a", job_type="b", submitted_at=datetime(2026, 1, 1))


def test_ids_are_ordered_by_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000


def test_times_are_kept_to_the_microsecond_and_in_utc() -> None:
    local = datetime.now(UTC) + timedelta(microseconds=1)
    request = JobRequest(tenant="a", job_type="b", submitted_at=local)
    assert CODEC.decode(CODEC.encode(request), JobRequest).submitted_at == local


@pytest.mark.parametrize("field", ["capacity", "busy", "queued"])
def test_a_heartbeat_with_fewer_than_no_slots_is_none(field: str) -> None:
    heartbeat = Heartbeat(worker_id="w").model_copy(update={field: -(2**31)})
    with pytest.raises(DecodeError, match=f"Heartbeat.{field}"):
        Codec().decode(Codec().encode(heartbeat), Heartbeat)
