"""Reading what is like something read before: the same result as reading it with care."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.schemas import Codec, DecodeError, JobRequest, RequestReader, job_part
from millstream.schemas.ids import new_id
from millstream.schemas.partial_encoder import long, microseconds
from millstream.schemas.request_reader import NAMES_KEPT

CODEC = Codec()
texts = st.text(max_size=12)
kinds = st.builds(
    JobRequest,
    tenant=st.sampled_from(["acme", "globex", "t" * 128]),
    job_type=st.sampled_from(["reports.render", "a"]),
    lane=st.sampled_from(["high", "default"]),
    source=texts,
    labels=st.dictionaries(texts, texts, max_size=2),
    attempt=st.integers(1, 100),
    timeout_ms=st.none() | st.integers(1, 10**9),
    deadline=st.none() | st.just(datetime(2030, 1, 1, tzinfo=UTC)),
    traceparent=st.sampled_from(["", f"00-{'a' * 32}-{'b' * 16}-01"]),
)
moments = st.datetimes(datetime(1960, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
keys = st.text(max_size=256)
payloads = st.binary(max_size=200)


def like(request: JobRequest, **fields: object) -> JobRequest:
    return request.model_copy(update={"job_id": new_id(), **fields})


@given(kind=kinds, others=st.lists(st.tuples(moments, keys, payloads), min_size=1, max_size=5))
def test_a_request_like_one_before_is_read_as_it_was_written(
    kind: JobRequest, others: list[tuple[datetime, str, bytes]]
) -> None:
    reader = RequestReader(CODEC)
    for moment, key, payload in others:
        request = like(kind, submitted_at=moment, ordering_key=key, payload=payload)
        read = reader.read(CODEC.encode(request))
        assert read.request == request
        assert read.request.model_dump() == request.model_dump()
        assert read.job_part == job_part(request)


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
        again = like(first, submitted_at=datetime(2026, 11, 24, 10, 0, second, 777, UTC), ordering_key=f"key-{second}")
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


def test_tenants_without_end_do_not_fill_the_memory() -> None:
    reader = RequestReader(CODEC)
    for number in range(NAMES_KEPT + 50):
        reader.read(CODEC.encode(JobRequest(tenant=f"t{number}", job_type="a")))
    assert len(reader._templates) == NAMES_KEPT
