"""The file of an insert: an independent Avro reader reads it, and the same records always give the same bytes."""

import io
from datetime import UTC
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.consumers.sink.avro_file import FIELDS_AFTER, FIELDS_BEFORE, AvroFile, varint
from millstream.schemas import Codec, EventKind, JobEvent
from millstream.schemas.registry import current_schema
from tests.support.forged_events import VICTIM, forgeries
from tests.support.forged_events import event as forged_event

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
    # ClickHouse takes strings of any bytes as well.
    rows: Any = fastavro.reader(io.BytesIO(data), handle_unicode_errors="replace")
    return list(rows)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2**62), events), max_size=20), st.integers(0, 2**31 - 1))
def test_an_independent_avro_reader_reads_the_events_and_their_places(
    rows: list[tuple[int, JobEvent]], partition: int
) -> None:
    data = file.build(partition, [offset for offset, _ in rows], [codec.encode(event) for _, event in rows])
    found = read(data)
    assert [(row["kafka_partition"], row["read_offset"]) for row in found] == [(partition, o) for o, _ in rows]
    assert all(row["frame_end"] == row["frame_start"][::-1] for row in found)
    ours = {field["name"] for field in [*FIELDS_BEFORE, *FIELDS_AFTER]}
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


def test_the_marks_are_new_in_each_file_and_nothing_else_of_it_differs() -> None:
    values = [codec.encode(JobEvent.model_validate(_smallest())) for _ in range(100)]
    first, second = (file.build(1, range(100), values) for _ in range(2))
    marks = [read(data)[0]["frame_start"] for data in (first, second)]
    assert marks[0] != marks[1] and len(marks[0]) == 16
    again = AvroFile(current_schema("JobEvent")).build(1, range(100), values, marks[0])
    assert again == first


def _smallest() -> dict[str, Any]:
    some = "01a20bcf-7638-75c2-8983-5243777a9632"
    when = "2026-11-24T00:00:00Z"
    ids = {"job_id": some, "event_id": some}
    names = {"tenant": "t", "job_type": "j", "lane": "default", "kind": "started"}
    return {**ids, **names, "submitted_at": when, "occurred_at": when}


def accepted(values: list[bytes]) -> list[dict[str, Any]] | None:
    """The rows of these records, whose offsets begin at 0, as the landing table takes them; None when the file cannot
    be read, or when a row does not end with the reverse of what it began with."""
    try:
        rows = read(file.build(0, range(len(values)), values))
    except Exception:
        return None
    return rows if all(row["frame_end"] == row["frame_start"][::-1] for row in rows) else None


def check_that_rows_are_those_of_their_records(values: list[bytes]) -> None:
    """A file that is accepted has for each record the row that it gives alone."""
    rows = accepted(values)
    if rows is None:
        return
    assert [(row["kafka_partition"], row["read_offset"]) for row in rows] == [(0, at) for at in range(len(values))]
    for row, value in zip(rows, values, strict=True):
        (alone,) = accepted([value]) or [{}]
        assert _body(row) == _body(alone)


def _body(row: dict[str, Any]) -> str:
    """NaN is equal to itself here."""
    ours = {field["name"] for field in [*FIELDS_BEFORE, *FIELDS_AFTER]}
    return repr({name: value for name, value in row.items() if name not in ours})


KNOWN_MARK = bytes(range(16))


@pytest.mark.parametrize("known_mark", [KNOWN_MARK, bytes(16), b"MILLSTRMMILLSTRM"])
def test_no_record_of_one_tenant_changes_the_row_of_another(known_mark: bytes) -> None:
    for forgery in forgeries(0, 0, known_mark):
        check_that_rows_are_those_of_their_records(forgery.values)
        good = [value for at, value in enumerate(forgery.values) if at in forgery.victims]
        rows = accepted(good)
        assert rows is not None and {row["tenant"] for row in rows} == {VICTIM}, forgery.name


def test_a_forger_who_knows_the_marks_of_the_file_would_succeed() -> None:
    """Else the test above would show nothing: what keeps the forger out is that the marks cannot be foreseen."""
    forgery = next(forgeries(0, 0, KNOWN_MARK))
    rows = read(file.build(0, range(3), forgery.values, KNOWN_MARK))
    assert all(row["frame_end"] == row["frame_start"][::-1] for row in rows)
    assert [(row["read_offset"], row["message"]) for row in rows] == [(0, ""), (1, "forged"), (2, "")]


pieces = st.sampled_from(
    [forged_event("forger"), forged_event("victim"), KNOWN_MARK, KNOWN_MARK[::-1], file.build(0, [], [])[-16:], b"\x00"]
) | st.binary(max_size=12)


@settings(max_examples=300)
@given(
    st.lists(
        st.lists(pieces, min_size=1, max_size=4).map(b"".join)
        | st.tuples(st.integers(0, 400), st.binary(max_size=9)).map(
            lambda cut: forged_event("forger")[: cut[0]] + cut[1] + forged_event("forger")[cut[0] + len(cut[1]) :]
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 4),
)
def test_whatever_bytes_records_have_a_file_is_read_as_it_was_built_or_not_at_all(
    hostile: list[bytes], place: int
) -> None:
    check_that_rows_are_those_of_their_records([*hostile[:place], forged_event("victim"), *hostile[place:]])
