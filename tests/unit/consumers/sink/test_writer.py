"""The writer against a scripted ClickHouse that reads Avro with fastavro and drops repeated tokens."""

import io
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from clickhouse_connect.driver.summary import QuerySummary
from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.rejected import find_rejected
from millstream.consumers.sink.sources import EVENTS
from millstream.consumers.sink.writer import InsertResult, RefusedForSize, UnconfirmedInsert, Writer
from millstream.consumers.sink.table_columns import TablesTooOld
from millstream.schemas import Codec, EventKind, JobEvent, PinnedRegistry, RegistryUnavailable

codec = Codec()
EVENT_SCHEMA_ID = PinnedRegistry().id_of("JobEvent")


class ScriptedClickHouse:
    """Decodes and keeps rows; rejects what fastavro cannot read, as ClickHouse does."""

    def __init__(self) -> None:
        self.columns = [*JobEvent.model_fields, "kafka_partition", "read_offset", "frame_start", "frame_end"]
        self.inserted_columns: list[Sequence[str]] = []
        self.errors: list[DatabaseError] = []
        """Raised by the next inserts, whatever they contain."""
        self.rows: list[tuple[int, int]] = []
        self.tokens: list[str] = []
        self.down = False
        self.unconfirmed: list[dict[str, str]] = []
        """Summaries of the next answers, which are lies: nothing is inserted."""

    def query(self, text: str) -> Any:
        return SimpleNamespace(result_rows=[(name,) for name in self.columns])

    def raw_insert(self, table: str, columns: Sequence[str], block: bytes, settings: Any, fmt: str) -> QuerySummary:
        if self.unconfirmed:
            return QuerySummary(self.unconfirmed.pop(0))
        if self.down:
            raise OperationalError("connection refused")
        if self.errors:
            raise self.errors.pop(0)
        self.inserted_columns.append(columns)
        try:
            reader: Any = fastavro.reader(io.BytesIO(block))
            rows = list(reader)
        except Exception as error:
            raise DatabaseError(f"cannot read: {error}", code=1001) from error
        if any(row["frame_end"] != row["frame_start"][::-1] for row in rows):
            raise DatabaseError("longer or shorter", code=395)
        token = settings.get("insert_deduplication_token")
        assert (token is None) == (table == "job_events_check")
        if token is not None and token not in self.tokens:
            self.tokens.append(token)
            self.rows += [(row["kafka_partition"], row["read_offset"]) for row in rows]
        return QuerySummary({"written_rows": str(len(rows))})


def event() -> bytes:
    now = "2026-11-24T00:00:00Z"
    return codec.encode(
        JobEvent.model_validate(
            {"job_id": "01a20bcf-7638-75c2-8983-5243777a9632", "tenant": "t", "job_type": "j", "lane": "default"}
            | {"kind": EventKind.STARTED, "submitted_at": now, "occurred_at": now}
        )
    )


class TwoVersions(PinnedRegistry):
    """The events' schema under a second id as well, as while producers are being upgraded."""

    away = False

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        if self.away:
            raise RegistryUnavailable("no answer")
        return super().schema_of(2 if schema_id == 77 else schema_id)


GOOD = event()
OTHER_VERSION = b"\x00\x00\x00\x00\x4d" + GOOD[5:]
BAD = [
    None,
    b"",
    b"\x00\x00",
    b"\x07garbage",
    b"\x00\x7f\xff\xff\xffbody",
    b"\x00\x00\x00\x00\x01request",
    GOOD + b"\x00",
]
BAD += [GOOD[:-3], GOOD[:5], GOOD[:40]]


def batch_of(values: Sequence[bytes | None]) -> InsertBatch:
    records = Records.of((100 + at, b"k", value) for at, value in enumerate(values))
    return InsertBatch(Intent(100, 100 + len(records)), records)


def writer_to(clickhouse: ScriptedClickHouse) -> Writer:
    client: Any = clickhouse
    return Writer(client, RecordSchemas(TwoVersions(), EVENTS.record), EVENTS, "jobs.events", "id")


def offsets_of(result: InsertResult) -> list[int]:
    """Of the rejected records."""
    return [found.offset for found in result.rejected]


@given(st.lists(st.sampled_from([GOOD, GOOD, GOOD, *BAD]), min_size=1, max_size=25))
def test_every_readable_record_is_inserted_once_and_every_other_one_is_named(values: list[bytes | None]) -> None:
    clickhouse = ScriptedClickHouse()
    written = writer_to(clickhouse).write(4, batch_of(values))
    assert clickhouse.rows == [(4, 100 + at) for at, value in enumerate(values) if value == GOOD]
    assert written.rows == len(clickhouse.rows)
    assert sorted(found.offset for found in written.rejected) == [
        100 + at for at, value in enumerate(values) if value != GOOD
    ]
    assert all(found.reason for found in written.rejected)


@given(st.lists(st.sampled_from([GOOD, GOOD, *BAD]), min_size=1, max_size=10))
def test_a_repeat_after_a_crash_uses_the_same_token_and_adds_nothing(values: list[bytes | None]) -> None:
    clickhouse = ScriptedClickHouse()
    first = writer_to(clickhouse).write(4, batch_of(values))
    rows = list(clickhouse.rows)
    again = writer_to(clickhouse).write(4, batch_of(values))
    assert clickhouse.rows == rows
    assert (again.rows, offsets_of(again)) == (first.rows, offsets_of(first))
    assert clickhouse.tokens in ([], [f"jobs.events:id:4:100:{100 + len(values)}:{EVENT_SCHEMA_ID}"])


@given(st.lists(st.sampled_from([GOOD, OTHER_VERSION, *BAD]), min_size=1, max_size=20))
def test_two_schema_versions_in_one_batch_are_two_inserts_under_tokens_of_their_own(values: list[bytes | None]) -> None:
    clickhouse = ScriptedClickHouse()
    for _ in range(2):
        written = writer_to(clickhouse).write(4, batch_of(values))
    expected = [(4, 100 + at) for at, value in enumerate(values) if value in (GOOD, OTHER_VERSION)]
    assert sorted(clickhouse.rows) == expected
    assert written.rows == len(expected)
    versions = {EVENT_SCHEMA_ID: GOOD, 77: OTHER_VERSION}
    token = f"jobs.events:id:4:100:{100 + len(values)}"
    assert set(clickhouse.tokens) == {
        f"{token}:{schema_id}" for schema_id, value in versions.items() if value in values
    }


def test_an_unavailable_registry_rejects_no_record() -> None:
    clickhouse: Any = ScriptedClickHouse()
    registry = TwoVersions()
    registry.away = True
    writer = Writer(clickhouse, RecordSchemas(registry, EVENTS.record), EVENTS, "jobs.events", "id")
    with pytest.raises(RegistryUnavailable):
        writer.write(0, batch_of([GOOD]))
    registry.away = False
    assert writer.write(0, batch_of([GOOD])).rows == 1


def test_a_table_that_got_new_columns_gets_the_fields_of_the_new_schema_too() -> None:
    clickhouse = ScriptedClickHouse()
    writer = writer_to(clickhouse)
    clickhouse.columns = [name for name in clickhouse.columns if name != "wait_ms"]
    writer.write(0, batch_of([GOOD]))
    clickhouse.columns.append("wait_ms")
    writer.write(0, batch_of([GOOD]))
    writer.write(0, batch_of([OTHER_VERSION]))
    assert [("wait_ms" in columns) for columns in clickhouse.inserted_columns] == [False, False, True]


def test_nothing_is_inserted_into_a_table_that_cannot_check_where_records_end() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.columns = [name for name in clickhouse.columns if name != "frame_end"]
    with pytest.raises(TablesTooOld, match="run millstream migrate"):
        writer_to(clickhouse).write(0, batch_of([GOOD]))
    assert clickhouse.rows == []


@pytest.mark.parametrize("code", [202, 241, 252, 999])
def test_an_error_for_lack_of_resources_rejects_no_record(code: int) -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.errors = [DatabaseError("not now", code=code)] * 2
    with pytest.raises(DatabaseError, match="not now"):
        writer_to(clickhouse).write(0, batch_of([GOOD]))
    assert clickhouse.rows == []


def test_a_record_that_fails_once_and_is_then_accepted_is_not_rejected() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.errors = [DatabaseError("odd", code=48)] * 2
    writer = writer_to(clickhouse)
    with pytest.raises(DatabaseError, match="odd"):
        writer.write(0, batch_of([GOOD]))
    assert writer.write(0, batch_of([GOOD])).rejected == []
    assert clickhouse.rows == [(0, 100)]


def test_an_unreachable_clickhouse_rejects_no_record() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.down = True
    with pytest.raises(OperationalError):
        writer_to(clickhouse).write(0, batch_of([GOOD, GOOD[:-1]]))


def test_an_unhealthy_clickhouse_that_rejects_every_insert_rejects_no_record() -> None:
    class Unhealthy(ScriptedClickHouse):
        def raw_insert(self, *_: Any, **__: Any) -> QuerySummary:
            raise DatabaseError("too many parts", code=252)

    with pytest.raises(DatabaseError, match="too many parts"):
        writer_to(Unhealthy()).write(0, batch_of([GOOD, GOOD]))


@pytest.mark.parametrize("summary", [{}, {"written_rows": "0"}, {"written_rows": "1"}])
def test_an_answer_that_does_not_confirm_every_row_is_no_insert(summary: dict[str, str]) -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.unconfirmed = [summary]
    writer = writer_to(clickhouse)
    with pytest.raises(UnconfirmedInsert, match="of 2 rows"):
        writer.write(0, batch_of([GOOD, GOOD]))
    assert writer.write(0, batch_of([GOOD, GOOD])).rows == 2
    assert len(clickhouse.rows) == 2


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_bisection_finds_exactly_the_rejected_records(bad: set[int], count: int) -> None:
    records = Records.of((at, None, b"") for at in range(count))

    def rejection(some: Records) -> str | None:
        return "no" if bad.intersection(some.offsets) else None

    assert [found.offset for found in find_rejected(records, rejection)] == sorted(b for b in bad if b < count)
