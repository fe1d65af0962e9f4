"""Records that a tenant made to harm others, inserted into a real ClickHouse engine by the sink's writer."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.intent import Intent
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.sources import EVENTS
from millstream.consumers.sink.writer import HTTP_SETTINGS, Writer
from millstream.schemas import EventKind, JobRequest, PinnedRegistry, job_part
from tests.support.forged_events import FILE, FORGER, VICTIM, Forgery, event, forgeries
from tests.support.job_events import MAKE, life_of_jobs

MARK = bytes(range(16))


def writer_to(client: Any) -> Writer:
    return Writer(client, RecordSchemas(PinnedRegistry(), EVENTS.record), EVENTS, "jobs.events", "id")


def batch_of(values: list[bytes], first: int = 0) -> InsertBatch:
    records = Records.of((first + at, b"k", value) for at, value in enumerate(values))
    return InsertBatch(Intent(first, first + len(records)), records)


def rows_of(clickhouse: Client) -> dict[int, tuple[str, str]]:
    """Tenant and message by offset. Each offset is there once."""
    found = clickhouse.query(
        "SELECT kafka_offset, tenant, message FROM job_events WHERE kafka_partition = 0"
    ).result_rows
    assert len({row[0] for row in found}) == len(found)
    return {int(offset): (str(tenant), str(message)) for offset, tenant, message in found}


class Overheard:
    """A client whose inserts a forger has seen."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.files: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def raw_insert(self, table: str, columns: Any, block: bytes, **more: Any) -> Any:
        self.files.append(block)
        return self.client.raw_insert(table, columns, block, **more)

    @property
    def last_mark(self) -> bytes:
        """The start mark of the last file: behind its header and the two numbers of its only block."""
        header = FILE.build(0, [], [])
        block = next(file for file in reversed(self.files) if len(file) > len(header))[len(header) :]
        numbers = 0
        while numbers < 2:
            numbers, block = numbers + (block[0] < 0x80), block[1:]
        return block[:16]


def test_no_forgery_changes_a_row_of_another_tenant_and_every_record_is_accounted_for(clickhouse: Client) -> None:
    """Each forgery is tried with the marks of the insert before it, in one batch with records of the victim."""
    client = Overheard(clickhouse)
    writer = writer_to(client)
    writer.write(0, batch_of([event(VICTIM, "true")]))
    first = 1
    expected = {0}
    names = [forgery.name for forgery in forgeries(0, first, MARK)]
    for number, name in enumerate(names):
        forgery: Forgery = next(itertools.islice(forgeries(0, first, client.last_mark), number, None))
        assert forgery.name == name
        result = writer.write(0, batch_of(forgery.values, first))
        offsets = {first + at for at in range(len(forgery.values))}
        rejected = {found.offset for found in result.rejected}
        assert result.rows + len(rejected) == len(offsets), name
        assert not rejected & {first + at for at in forgery.victims}, name
        rows = rows_of(clickhouse)
        expected |= offsets - rejected
        assert set(rows) == expected, name
        assert {rows[first + at] for at in forgery.victims} == {(VICTIM, "true")}, name
        assert {rows[at][0] for at in offsets - rejected} <= {VICTIM, FORGER}
        first += len(forgery.values)
    assert "forged" not in {message for _, message in rows_of(clickhouse).values()}
    (counted,) = clickhouse.query("SELECT sum(events) FROM throughput_1m").result_rows
    assert counted == (len(expected),)


def test_a_forger_who_knew_the_marks_would_succeed(clickhouse: Client) -> None:
    """Else the test above would show nothing."""
    forgery = next(forgeries(0, 0, MARK))
    file = FILE.build(0, range(3), forgery.values, MARK)
    clickhouse.raw_insert("job_events_landing", FILE.field_names, file, settings=HTTP_SETTINGS, fmt="Avro")
    assert rows_of(clickhouse)[1] == (VICTIM, "forged")


def test_a_repeat_with_other_marks_is_dropped_in_every_table(clickhouse: Client) -> None:
    def counts() -> list[int]:
        tables = ("job_events", "jobs", "throughput_1m", "backlog_1m", "throughput_1h")
        return [int(clickhouse.query(f"SELECT count() FROM {table}").result_rows[0][0]) for table in tables]

    client = Overheard(clickhouse)
    batch = batch_of([event(VICTIM) for _ in range(20)])
    writer_to(client).write(0, batch)
    before = counts()
    assert before[0] == 20 and all(before)
    writer_to(client).write(0, batch)
    assert counts() == before
    assert len(set(client.files)) == 2, "the marks differ"


def at(submitted: datetime, occurred: datetime) -> bytes:
    """An event of these times."""
    job = JobRequest(tenant=FORGER, job_type="j", submitted_at=submitted)
    return MAKE.event(job_part(job), MAKE.attempt_part({}), EventKind.SUCCEEDED, occurred, final=True)


DAY = timedelta(days=1)


def test_a_year_that_cannot_be_is_a_dead_letter_and_a_submission_without_measure_is_moved(clickhouse: Client) -> None:
    now = datetime.now(UTC)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    values = [at(now, first), at(now, last), at(now, now - 410 * DAY), at(now, now + 110 * DAY)]
    values += [at(first, now), at(last, now), at(now, now), at(now - 80 * DAY, now - 80 * DAY)]
    result = writer_to(clickhouse).write(0, batch_of(values))
    assert [found.offset for found in result.rejected] == [0, 1, 2, 3]
    assert all("400 days ago" in found.reason for found in result.rejected)
    found = clickhouse.query(
        "SELECT kafka_offset, dateDiff('day', submitted_at, occurred_at) FROM job_events ORDER BY kafka_offset"
    ).result_rows
    assert found in [[(4, days), (5, -1), (6, 0), (7, 0)] for days in (365, 366)]


def test_durations_without_measure_are_bounded_so_that_no_rollup_refuses_the_batch(clickhouse: Client) -> None:
    inf, now = float("inf"), datetime.now(UTC)
    job = job_part(JobRequest(tenant=FORGER, job_type="j"))

    def lasting(ms: float | None) -> bytes:
        attempt = MAKE.attempt_part({"wait_ms": ms})
        return MAKE.event(job, attempt, EventKind.SUCCEEDED, now, final=True, run_ms=ms)

    durations = [1e300, 1e-300, -1e300, -0.0, inf, -inf, float("nan"), None, 0.001, 5.0, 3e10]
    assert not writer_to(clickhouse).write(0, batch_of([lasting(ms) for ms in durations])).rejected
    found = clickhouse.query("SELECT wait_ms, run_ms FROM job_events ORDER BY kafka_offset").result_rows
    expected = [1e11, 0.0, 0.0, 0.0, None, None, None, None, 0.001, 5.0, 3e10]
    assert found == [(each, each) for each in expected]
    counted = clickhouse.query("SELECT sum(attempts) FROM latency_1m WHERE stage = 'run'").result_rows
    assert counted == [(7,)]


def test_a_batch_that_is_repeated_after_batches_of_many_days_is_dropped_in_every_table(clickhouse: Client) -> None:
    """Retention deletes most of the hostile rows at once, but the rollups keep them."""

    def counts() -> list[Any]:
        recent = "submitted_at > now() - toIntervalDay(1)"
        jobs = clickhouse.query(f"SELECT count(), sum(attempts) FROM jobs FINAL WHERE {recent}").result_rows
        events = clickhouse.query("SELECT count() FROM job_events WHERE kafka_offset < 1000").result_rows
        return [jobs, events, clickhouse.query("SELECT sum(events) FROM throughput_1m").result_rows]

    now = datetime.now(UTC)
    writer = writer_to(clickhouse)
    announced = batch_of([at(now, now) for _ in range(50)])
    writer.write(0, announced)
    hostile = [at(now - 99 * number * DAY, now - 6 * number * DAY) for number in range(1, 65)]
    assert not writer.write(0, batch_of(hostile, 1000)).rejected
    for _ in range(2):
        assert counts() == [[(50, 50)], [(50,)], [(114,)]]
        writer.write(0, announced)
        writer.write(0, batch_of(hostile, 1000))
    windows = clickhouse.query(
        "SELECT extract(engine_full, 'deduplication_window = ([0-9]+)') FROM system.tables "
        "WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND partition_key LIKE 'toDate(%'"
    ).result_rows
    assert len(windows) == 4 and {int(window) for (window,) in windows} == {100_000}


@pytest.mark.parametrize("megabytes", [3, 6, 12, 25, 50, 100])
def test_what_is_refused_for_want_of_memory_is_in_no_table_when_its_events_are_not(
    clickhouse: Client, megabytes: int
) -> None:
    """A part may be inserted instead of a whole only because of that."""
    values = [value for _, value in life_of_jobs(700)]
    header = values[0][:5]
    assert {value[:5] for value in values} == {header}
    settings = {**HTTP_SETTINGS, "max_memory_usage": megabytes * 1_000_000, "insert_deduplication_token": "whole"}
    try:
        file = FILE.build(0, range(len(values)), values)
        clickhouse.raw_insert("job_events_landing", FILE.field_names, file, settings=settings, fmt="Avro")
    except DatabaseError as error:
        assert error.code in (173, 241)
        others = ("job_attempts", "jobs", "throughput_1m", "latency_1m", "cost_1m", "backlog_1m", "throughput_1h")
        if clickhouse.query("SELECT count() FROM job_events").result_rows == [(0,)]:
            assert [clickhouse.query(f"SELECT count() FROM {name}").result_rows for name in others] == [[(0,)]] * 7
