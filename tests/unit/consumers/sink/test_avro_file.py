"""The file of an insert: an independent Avro reader reads it, and the same records always give the same bytes."""

import io
from datetime import UTC
from typing import Any

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.consumers.sink.avro_file import ADDED_FIELDS, RECORD_END, WIRE_FIELD, AvroFile, varint
from millstream.schemas import Codec, EventKind, JobEvent
from millstream.schemas.registry import current_schema

codec = Codec()
file = AvroFile(current_schema("JobEvent"))
names = st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True)
moments = st.datetimes(timezones=st.just(UTC))
events = st.builds(
    JobEvent,
    job_id=st.uuids().map(str),
    tenant=names,
    job_type=names,
    lane=names,
    submitted_at=moments,
    traceparent=st.just(""),
    labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    attempt=st.integers(0, 2**31 - 1),
    kind=st.sampled_from(EventKind),
    occurred_at=moments,
    final=st.booleans(),
    run_ms=st.none() | st.floats(allow_nan=False),
    max_rss_bytes=st.none() | st.integers(-(2**63), 2**63 - 1),
    message=st.text(max_size=20),
    execution_id=st.none() | st.uuids().map(str),
    event_id=st.uuids().map(str),
)


def read(data: bytes) -> list[dict[str, Any]]:
    rows: Any = fastavro.reader(io.BytesIO(data))
    return list(rows)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2**62), events), max_size=20), st.integers(0, 2**31 - 1))
def test_an_independent_avro_reader_reads_the_events_and_their_places(
    rows: list[tuple[int, JobEvent]], partition: int
) -> None:
    data = file.build(partition, [offset for offset, _ in rows], [codec.encode(event) for _, event in rows])
    found = read(data)
    assert [(row["kafka_partition"], row["read_offset"]) for row in found] == [(partition, o) for o, _ in rows]
    assert all(row["record_end"] == RECORD_END for row in found)
    ours = {field["name"] for field in [WIRE_FIELD, *ADDED_FIELDS]}
    stripped = [{name: _text(value) for name, value in row.items() if name not in ours} for row in found]
    assert stripped == [{name: _text(value) for name, value in event.model_dump().items()} for _, event in rows]


def _text(value: Any) -> Any:
    return str(value) if type(value).__name__ == "UUID" else value


@given(st.lists(st.integers(0, 2**62), max_size=50))
def test_offsets_are_written_as_any_avro_writer_does(offsets: list[int]) -> None:
    value = codec.encode(JobEvent.model_validate(_smallest()))
    rows = read(file.build(3, offsets, [value] * len(offsets)))
    assert [row["read_offset"] for row in rows] == offsets


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints_are_those_of_fastavro(number: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, number)
    assert varint(number) == out.getvalue()


def test_the_same_records_give_the_same_bytes_from_another_process() -> None:
    values = [codec.encode(JobEvent.model_validate(_smallest())) for _ in range(100)]
    assert file.build(1, range(100), values) == AvroFile(current_schema("JobEvent")).build(1, range(100), values)


def _smallest() -> dict[str, Any]:
    some = "01a20bcf-7638-75c2-8983-5243777a9632"
    when = "2026-11-24T00:00:00Z"
    ids = {"job_id": some, "event_id": some}
    names = {"tenant": "t", "job_type": "j", "lane": "default", "kind": "started"}
    return {**ids, **names, "submitted_at": when, "occurred_at": when}
