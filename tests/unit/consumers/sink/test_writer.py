"""The writer against a scripted ClickHouse that reads Avro with fastavro and drops repeated tokens."""

import io
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from clickhouse_connect.driver.summary import QuerySummary
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.rejected import LONGEST_REASON, RejectedRecord, find_rejected
from millstream.consumers.sink.sources import EVENTS
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.table_columns import TableColumns, TablesTooOld
from millstream.consumers.sink.writer import InsertResult, RefusedForSize, UnconfirmedInsert, Writer
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
        self.most_bytes: int | None = None
        """Larger files are refused for want of memory."""
        self.strange: bytes | None = None
        """A file with these bytes gets `strange_answer`."""
        self.strange_answer = DatabaseError("memory limit exceeded", code=241)
        self.lacks = ""
        """A column that the landing table has and the table behind it has not."""
        self.rows: list[tuple[int, int]] = []
        self.tokens: list[str] = []
        self.down = False
        self.unconfirmed: list[dict[str, str]] = []
        """Summaries of the next answers, which are lies: nothing is inserted."""

    def query(self, text: str) -> Any:
        if text.startswith("DESCRIBE"):
            names = self.columns if text.endswith("_landing") else [name for name in self.columns if name != self.lacks]
            return SimpleNamespace(result_rows=[(name,) for name in names])
        counted = re.search(r"kafka_partition = (\d+) AND kafka_offset >= (\d+) AND kafka_offset < (\d+)", text)
        assert counted is not None
        partition, start, end = map(int, counted.groups())
        return SimpleNamespace(result_rows=[(sum(p == partition and start <= o < end for p, o in self.rows),)])

    def raw_insert(self, table: str, columns: Sequence[str], block: bytes, settings: Any, fmt: str) -> QuerySummary:
        if self.unconfirmed:
            return QuerySummary(self.unconfirmed.pop(0))
        if self.down:
            raise OperationalError("connection refused")
        if self.errors:
            raise self.errors.pop(0)
        if self.most_bytes is not None and len(block) > self.most_bytes:
            raise DatabaseError("memory limit exceeded", code=241)
        if self.strange is not None and self.strange in block:
            raise self.strange_answer
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


FILE = AvroFile(PinnedRegistry().schema_of(EVENT_SCHEMA_ID))
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


def test_a_reason_is_short_however_much_of_the_record_clickhouse_quotes() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.strange = bad = GOOD[:-1] + b"\x7f"
    clickhouse.strange_answer = DatabaseError("Cannot read all data " + "x" * 1_600_000, code=376)
    (rejected,) = writer_to(clickhouse).write(0, batch_of([GOOD, bad])).rejected
    assert rejected.reason.startswith("Cannot read all data") and len(rejected.reason) == LONGEST_REASON


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


@pytest.mark.parametrize(
    "answer",
    [
        DatabaseError("memory limit exceeded", code=241),
        DatabaseError("HTTP driver received HTTP status 500, server response: Internal Server Error"),
    ],
)
def test_a_record_that_makes_a_healthy_server_answer_strangely_is_found_among_the_others(answer: DatabaseError) -> None:
    """As a length of 2^40 does, or bytes that the server cannot put into its answer."""
    clickhouse = ScriptedClickHouse()
    clickhouse.strange, clickhouse.strange_answer = b"a strange record", answer
    values: list[bytes | None] = [GOOD, GOOD, GOOD.replace(b"\x02j", b"\x20a strange record"), GOOD, GOOD]
    writer = writer_to(clickhouse)
    with pytest.raises(DatabaseError):
        writer.write(0, batch_of(values))
    reported: list[RejectedRecord] = []
    written = writer.write(0, batch_of(values), 1, reported.extend)
    assert offsets_of(written) == [102] and reported == written.rejected
    assert clickhouse.rows == [(0, 100), (0, 101), (0, 103), (0, 104)]


def test_a_server_that_refuses_everything_for_want_of_memory_rejects_no_record() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.most_bytes = 0
    for refusals in range(5):
        with pytest.raises(DatabaseError, match="memory"):
            writer_to(clickhouse).write(0, batch_of([GOOD] * 8), refusals)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 502, 503])
def test_an_answer_of_something_before_clickhouse_rejects_no_record(status: int) -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.errors = [DatabaseError(f"HTTP driver received HTTP status {status}")] * 2
    for refusals in range(2):
        with pytest.raises(DatabaseError, match=str(status)):
            writer_to(clickhouse).write(0, batch_of([GOOD]), refusals)
    assert writer_to(clickhouse).write(0, batch_of([GOOD]), 2).rejected == []


def cut_in_turn(clickhouse: ScriptedClickHouse, batch: InsertBatch, tries: int = 20) -> InsertBatch:
    """Insert the batch, or halves of halves of it, each by a writer of its own; returns what was inserted at last."""
    for refusals in range(tries):
        try:
            writer_to(clickhouse).write(4, batch, refusals)
            return batch
        except RefusedForSize as error:
            assert error.may_be_cut
            batch, _ = batch.halved()
        except DatabaseError:
            assert refusals == 0
    raise AssertionError("never inserted")


def test_a_batch_that_is_too_large_is_inserted_in_part_under_the_token_of_the_whole() -> None:
    clickhouse = ScriptedClickHouse()
    batch = batch_of([GOOD] * 100)
    clickhouse.most_bytes = len(FILE.build(0, range(40), [GOOD] * 40))
    part = cut_in_turn(clickhouse, batch)
    assert part.range == Intent(100, 125, 200)
    assert clickhouse.rows == [(4, at) for at in range(100, 125)]
    assert clickhouse.tokens == [f"jobs.events:id:4:100:200:{EVENT_SCHEMA_ID}"]
    # The whole, which another owner still tries, is dropped now.
    clickhouse.most_bytes = None
    writer_to(clickhouse).write(4, batch)
    assert clickhouse.rows == [(4, at) for at in range(100, 125)]


def test_a_whole_that_was_inserted_though_it_was_refused_is_noticed_behind_its_part() -> None:
    clickhouse = ScriptedClickHouse()
    batch = batch_of([GOOD] * 100)
    part, _ = batch.halved()
    assert writer_to(clickhouse).write(4, batch).end == 200
    result = writer_to(clickhouse).write(4, part)
    assert result.end == 200
    assert clickhouse.rows == [(4, at) for at in range(100, 200)]


def test_a_batch_of_which_rows_are_in_the_table_is_not_cut() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.rows = [(4, 150)]
    clickhouse.most_bytes = len(FILE.build(0, range(40), [GOOD] * 40))
    with pytest.raises(RefusedForSize) as raised:
        writer_to(clickhouse).write(4, batch_of([GOOD] * 100), 1)
    assert not raised.value.may_be_cut


@pytest.mark.parametrize("error", [DatabaseError("slow", code=159), OperationalError("Read timed out")])
def test_a_batch_that_takes_too_long_is_refused_for_its_size_the_second_time(error: DatabaseError) -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.errors = [error, error]
    with pytest.raises(type(error)):
        writer_to(clickhouse).write(4, batch_of([GOOD] * 2), 0)
    with pytest.raises(RefusedForSize):
        writer_to(clickhouse).write(4, batch_of([GOOD] * 2), 1)


@given(st.data())
def test_whoever_inserts_the_whole_or_a_part_in_whatever_order_every_row_is_there_once(data: st.DataObject) -> None:
    """Several owners try the same range, one after the other or at once: tries that were refused may arrive later."""
    clickhouse = ScriptedClickHouse()
    count = data.draw(st.integers(2, 40))
    whole = batch_of([GOOD] * count)
    late = [whole]
    batch, reached = whole, 100
    while reached < 100 + count:
        if batch.range.start == 100 and len(batch.records) > 1 and data.draw(st.booleans()):
            clickhouse.most_bytes = 0 if data.draw(st.booleans()) else len(FILE.build(0, [0], [GOOD])) + 9
            try:
                writer_to(clickhouse).write(4, batch, 1)
            except RefusedForSize as error:
                late.append(batch)
                batch = batch.halved()[0] if error.may_be_cut else batch
            except DatabaseError:
                late.append(batch)
            clickhouse.most_bytes = None
        if data.draw(st.booleans()):
            writer_to(clickhouse).write(4, data.draw(st.sampled_from(late)))
        end = writer_to(clickhouse).write(4, batch).end
        reached = end
        if reached < 100 + count:
            rest = whole.records.part(reached - 100)
            batch = InsertBatch(Intent(reached, 100 + count), rest)
    for straggler in late:
        writer_to(clickhouse).write(4, straggler)
    assert sorted(clickhouse.rows) == [(4, 100 + at) for at in range(count)]


def test_a_field_without_a_column_is_named_once_and_filled_within_a_minute_of_its_column() -> None:
    clickhouse = ScriptedClickHouse()
    clickhouse.columns.remove("message")
    clickhouse.lacks = "stack"
    clock = [0.0]
    client: Any = clickhouse
    status = SinkStatus()
    columns = TableColumns(client, EVENTS, status, lambda: clock[0])
    with capture_logs() as lines:
        for _ in range(3):
            assert "message" not in columns.of(FILE, 7)
            clock[0] += 70
    assert [(line["field"], line["schema_id"], line["tables"]) for line in lines] == [
        ("message", 7, ["job_events", "job_events_landing"]),
        ("stack", 7, ["job_events"]),
    ]
    assert all("millstream sink rewind job_events" in line["action"] for line in lines)
    assert status.fields_left_out == 2
    clickhouse.columns.append("message")
    clickhouse.lacks = ""
    clock[0] += 70
    assert "message" in columns.of(FILE, 7) and status.fields_left_out == 0


def test_a_flood_of_records_that_cannot_be_read_is_not_searched_one_by_one() -> None:
    clickhouse = ScriptedClickHouse()
    values: list[bytes | None] = [GOOD if at % 10 == 0 else GOOD[:-1] for at in range(3000)]
    inserts = []
    insert = clickhouse.raw_insert

    def counted(*arguments: Any, **more: Any) -> QuerySummary:
        inserts.append(arguments[0])
        return insert(*arguments, **more)

    clickhouse.raw_insert = counted  # type: ignore[method-assign]
    written = writer_to(clickhouse).write(4, batch_of(values))
    assert clickhouse.rows == [(4, 100 + at) for at in range(0, 3000, 10)]
    assert offsets_of(written) == [100 + at for at in range(3000) if at % 10]
    assert all(found.reason for found in written.rejected)
    assert len(inserts) < 10
