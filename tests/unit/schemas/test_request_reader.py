"""Reading what is like something read before: the same result as reading it with care."""

import gc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.schemas import Codec, DecodeError, EventBytes, EventKind, JobEvent, JobRequest, RequestReader, job_part
from millstream.schemas import request_reader as reader_module
from millstream.schemas.ids import new_id
from millstream.schemas.job_request import MAX_LABEL_BYTES
from millstream.schemas.partial_encoder import long, microseconds
from millstream.schemas.request_reader import NAMES_KEPT
from tests.support.hostile_records import HostileRecord, hostile_records, mutations, raw_request, text

CODEC = Codec()
texts = st.text(max_size=12)
traces = st.sampled_from(["", f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'1' * 32}-{'2' * 16}-00"])
labels = st.dictionaries(texts, texts, max_size=3)
kinds = st.builds(
    JobRequest,
    tenant=st.sampled_from(["acme", "globex", "t" * 128]),
    job_type=st.sampled_from(["reports.render", "a"]),
    lane=st.sampled_from(["high", "default"]),
    source=texts,
    labels=labels,
    attempt=st.integers(1, 100),
    timeout_ms=st.none() | st.integers(1, 10**9),
    deadline=st.none() | st.just(datetime(2030, 1, 1, tzinfo=UTC)),
    traceparent=traces,
)
moments = st.datetimes(datetime(1960, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
keys = st.text(max_size=256)
payloads = st.binary(max_size=200)
differing = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["acme", "globex", "t" * 128]),
        "submitted_at": moments,
        "ordering_key": keys,
        "payload": payloads,
        "traceparent": traces,
        "labels": labels,
        "not_before": st.none() | moments,
        "deadline": st.none() | moments,
    }
)


def like(request: JobRequest, **fields: object) -> JobRequest:
    return request.model_copy(update={"job_id": new_id(), **fields})


@given(kind=kinds, others=st.lists(differing, min_size=1, max_size=5))
def test_a_request_like_one_before_is_read_as_it_was_written(kind: JobRequest, others: list[dict[str, object]]) -> None:
    reader = RequestReader(CODEC)
    for fields in others:
        request = like(kind, **fields)
        read = reader.read(CODEC.encode(request))
        assert read.request == request
        assert read.request.model_dump() == request.model_dump()
        assert read.job_part == job_part(request)
        assert (read.tenant, read.traceparent, read.deadline) == (request.tenant, request.traceparent, request.deadline)
        assert read.due_us == microseconds(max(request.submitted_at, request.not_before or request.submitted_at))


@given(kind=kinds, damage=st.data())
def test_damage_in_a_request_like_one_before_is_found_as_in_the_first(kind: JobRequest, damage: st.DataObject) -> None:
    experienced = RequestReader(CODEC)
    experienced.read(CODEC.encode(kind))
    value = bytearray(CODEC.encode(like(kind, payload=b"{}")))
    for _ in range(damage.draw(st.integers(1, 3))):
        value[damage.draw(st.integers(0, len(value) - 1))] = damage.draw(st.integers(0, 255))
    data = bytes(value[: damage.draw(st.integers(0, len(value)))])

    def outcome(reader: RequestReader) -> object:
        try:
            return reader.read(data).request
        except DecodeError as error:
            return str(error)

    assert outcome(experienced) == outcome(RequestReader(CODEC))


@pytest.mark.parametrize(("tenant", "job_type"), [("a", "b"), ("acme", "noop"), ("t" * 100, "reports.render")])
def test_only_the_first_of_many_is_read_with_care_however_long_the_names(tenant: str, job_type: str) -> None:
    reader = RequestReader(CODEC)
    first = JobRequest(tenant=tenant, job_type=job_type)
    reader.read(CODEC.encode(first))
    for second in range(20):
        now = datetime(2026, 11, 24, 10, 0, second, 777, UTC)
        again = like(
            first,
            tenant=f"{tenant}{second}",
            submitted_at=now,
            ordering_key=f"key-{second}",
            traceparent=f"00-{second:032x}-{second:016x}-01",
            labels={"order": str(second)},
            deadline=now,
            not_before=now,
        )
        assert reader._read_by_template(CODEC.encode(again)) is not None


@pytest.mark.parametrize("micros", [253_402_300_800_000_000, 2**61, 2**63 - 1])
def test_a_time_that_no_clock_shows_is_found_in_a_request_like_one_before(micros: int) -> None:
    reader = RequestReader(CODEC)
    request = JobRequest(tenant="acme", job_type="a")
    value = CODEC.encode(request)
    reader.read(value)
    wrong = value.replace(long(microseconds(request.submitted_at)), long(micros))
    assert wrong != value
    for each in (reader, RequestReader(CODEC)):
        with pytest.raises(DecodeError):
            each.read(wrong)


def test_a_name_that_is_none_is_found_in_a_request_like_one_before() -> None:
    reader = RequestReader(CODEC)
    request = JobRequest(tenant="acme", job_type="a", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    value = CODEC.encode(request)
    reader.read(value)
    for right, wrong, field in ((b"acme", b"ac/e", "tenant"), (b"00-aa", b"00-AA", "traceparent")):
        with pytest.raises(DecodeError, match=field):
            reader.read(value.replace(right, wrong))


def test_a_number_without_end_is_refused_at_once() -> None:
    reader = RequestReader(CODEC)
    value = CODEC.encode(JobRequest(tenant="acme", job_type="a"))
    reader.read(value)
    with pytest.raises(DecodeError):
        reader.read(value[:60] + b"\xff" * 2_000_000)


def test_an_id_that_is_none_is_found_in_a_request_like_one_before() -> None:
    reader = RequestReader(CODEC)
    request = JobRequest(tenant="acme", job_type="a")
    value = CODEC.encode(request)
    reader.read(value)
    try:
        reader.read(value.replace(request.job_id.encode(), b"x" * 36))
    except DecodeError as error:
        assert "job_id" in str(error)
    else:
        raise AssertionError("an id that is none was read")


def test_what_a_handler_does_to_the_labels_of_one_job_is_not_seen_by_another() -> None:
    reader = RequestReader(CODEC)
    request = JobRequest(tenant="acme", job_type="a", labels={"team": "growth"})
    for _ in range(3):
        read = reader.read(CODEC.encode(like(request))).request
        assert read.labels == {"team": "growth"}
        read.labels["team"] = "changed"


def test_names_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "TENANTS_KEPT", 100)
    reader = RequestReader(CODEC)
    for number in range(NAMES_KEPT + 50):
        reader.read(CODEC.encode(JobRequest(tenant=f"t{number}", job_type=f"a{number}")))
        assert reader.read(CODEC.encode(JobRequest(tenant=f"u{number}", job_type=f"a{number}"))).tenant == f"u{number}"
    assert len(reader._templates) == NAMES_KEPT
    assert len(reader._tenants) <= 100


def outcome(reader: RequestReader, value: bytes | None) -> JobRequest | str:
    """The request in a record, or why it is none. Whatever else is raised is raised."""
    try:
        return reader.read(value).request
    except DecodeError as error:
        return str(error)


def experienced() -> RequestReader:
    """A reader that has templates of requests like the hostile ones."""
    reader = RequestReader(CODEC)
    for job_type in ("noop", "fails"):
        reader.read(raw_request(job_type))
    return reader


@pytest.mark.parametrize("record", hostile_records(), ids=lambda record: record.name)
def test_a_hostile_record_is_a_request_within_all_bounds_or_a_decode_error(record: HostileRecord) -> None:
    found = outcome(RequestReader(CODEC), record.value)
    assert isinstance(found, JobRequest) == record.runs, found
    assert outcome(experienced(), record.value) == found
    if isinstance(found, str):
        assert len(found) < 1_000


@given(seed=st.integers(0, 2**32))
def test_mutated_requests_are_read_alike_by_both_ways_and_their_events_can_be_written(seed: int) -> None:
    fast, encoder = experienced(), EventBytes(CODEC)
    for value in mutations(seed, 20):
        found = outcome(fast, value)
        assert found == outcome(RequestReader(CODEC), value)
        if isinstance(found, JobRequest):
            CODEC.encode(found)
            read = fast.read(value)
            attempt = encoder.attempt_part({"attempt": found.attempt, "execution_id": new_id(), "wait_ms": 1.0})
            event = CODEC.decode(encoder.event(read.job_part, attempt, EventKind.STARTED, read.due_us), JobEvent)
            assert (event.job_id, event.labels, event.submitted_at) == (found.job_id, found.labels, found.submitted_at)
            assert len(read.job_part) < 25_000


@given(value=st.binary(max_size=300))
def test_random_bytes_are_a_decode_error(value: bytes) -> None:
    header = CODEC.header("JobRequest")
    for each in (value, header + value):
        assert isinstance(outcome(experienced(), each), str)


def test_a_label_that_a_record_repeats_is_in_events_once() -> None:
    (record,) = [each for each in hostile_records() if each.name == "one label 200,000 times"]
    for reader in (RequestReader(CODEC), experienced()):
        read = reader.read(record.value)
        assert read.request.labels == {"": ""}
        assert read.job_part == job_part(read.request)


def test_a_thousand_attempts_are_read_and_one_more_is_refused() -> None:
    reader, job = RequestReader(CODEC), JobRequest(tenant="mallory", job_type="noop", attempt=7)
    most = job.model_copy(update={"max_attempts": 1_006})
    assert reader.read(CODEC.encode(most)).request == most
    with pytest.raises(DecodeError, match=r"JobRequest\.max_attempts: .*1,001 attempts, the limit is 1,000"):
        reader.read(CODEC.encode(job.model_copy(update={"max_attempts": 1_007})))


def test_labels_of_the_most_bytes_are_read_and_one_byte_more_is_refused() -> None:
    reader = experienced()
    most = {"team": "x" * (MAX_LABEL_BYTES - 4)}
    assert reader.read(CODEC.encode(JobRequest(tenant="mallory", job_type="noop", labels=most))).request.labels == most
    beyond = JobRequest(tenant="mallory", job_type="noop").model_copy(update={"labels": {"team": most["team"] + "x"}})
    with pytest.raises(DecodeError, match=r"labels: .*16,385 bytes, the limit is 16,384"):
        reader.read(CODEC.encode(beyond))


def test_names_of_the_greatest_length_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "TEMPLATE_BYTES", 1_000_000)
    reader = RequestReader(CODEC)
    for number in range(500):
        name = f"{number:04}" + "x" * 124
        value = raw_request(name, source=text("\U0001f600" * 256), content_type=text("y" * 256))
        reader.read(value)
    kept = [each for templates in reader._templates.values() for each in templates]
    assert 50 < len(kept) < 120
    assert sum(each.size for each in kept) == reader._template_bytes <= 1_000_000


@pytest.mark.parametrize("name", ["900 kB of labels", "payload longer than the record", "timeout of 0"])
def test_a_record_that_is_no_request_is_freed_without_the_garbage_collector(name: str) -> None:
    (record,) = [each for each in hostile_records() if each.name == name]
    reader = RequestReader(CODEC)
    for _ in range(3):
        outcome(reader, record.value)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            outcome(reader, record.value)
        assert gc.collect() < 100
    finally:
        gc.enable()
