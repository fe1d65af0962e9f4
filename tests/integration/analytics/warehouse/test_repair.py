"""Tables that disagree with the raw rows are found by minute and hour, and rebuilt from them."""

from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.warehouse.reconciliation import differing
from millstream.analytics.warehouse.reconciliation.differing import DifferingPeriod, complete_since, differing_periods
from millstream.analytics.warehouse.reconciliation.disagreements import disagreements, rollup_names
from millstream.analytics.warehouse.reconciliation.repair import repair
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.schemas.registry import current_schema
from tests.support.job_events import life_of_jobs

NOW = datetime.now(UTC)
SINCE, UNTIL = NOW - timedelta(days=5), NOW + timedelta(days=1)
FIRST, SECOND = (NOW - timedelta(days=days) for days in (3, 2))
JOBS = 60


def insert_events(client: Client, first_offset: int, around: datetime, seed: int, token: str) -> None:
    file = AvroFile(current_schema("JobEvent"))
    values = [value for _, value in life_of_jobs(JOBS, seed=seed, around=around)]
    body = file.build(0, range(first_offset, first_offset + len(values)), values)
    settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
    client.raw_insert("job_events_landing", file.field_names, body, settings=settings, fmt="Avro")


def insert_heartbeats(client: Client) -> None:
    client.command(
        "INSERT INTO worker_heartbeats (worker_id, occurred_at, capacity, busy, queued, cpu_percent, kafka_offset) "
        "SELECT 'worker-1', now64(6) - number, 4, number % 4, number % 3, number, number FROM numbers(300)"
    )


@pytest.fixture(autouse=True)
def looks_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differing, "LOOK_AGAIN_S", 0.0)


@pytest.fixture
def filled(own_clickhouse: Client) -> Client:
    """Events of three and of two days ago, and heartbeats of the last minutes."""
    insert_events(own_clickhouse, 0, FIRST, seed=1, token="first")
    insert_events(own_clickhouse, 1000, SECOND, seed=2, token="second")
    insert_heartbeats(own_clickhouse)
    assert differing_periods(own_clickhouse, SINCE, UNTIL) == []
    return own_clickhouse


def tables_of(found: list[DifferingPeriod]) -> set[str]:
    return {each.table for each in found}


def test_events_inserted_while_a_view_was_missing_are_found_and_mended(filled: Client) -> None:
    ((definition,),) = filled.query("SHOW CREATE TABLE job_attempts_from_events").result_rows
    filled.command("DROP VIEW job_attempts_from_events")
    insert_events(filled, 2000, SECOND, seed=3, token="third")
    filled.command(definition)
    found = differing_periods(filled, SINCE, UNTIL)
    behind = {"job_attempts", "cost_1m", "cost_1h", "errors_1m", "latency_1m", "latency_1h", "lane_latency_1m"}
    assert tables_of(found) == behind
    assert all(SECOND - timedelta(hours=1) <= each.start <= SECOND + timedelta(hours=1) for each in found)
    done = repair(filled, SINCE, UNTIL, {})
    assert tables_of(done.rebuilt) == behind and done.announced == done.without_raw_rows == []
    assert differing_periods(filled, SINCE, UNTIL) == [] and disagreements(filled) == []


def test_rows_that_are_missing_are_found_and_mended_in_every_table(filled: Client) -> None:
    for table in rollup_names():
        filled.command(f"ALTER TABLE {table} DELETE WHERE _part_offset % 2 = 0 SETTINGS mutations_sync = 2")
        assert tables_of(differing_periods(filled, SINCE, UNTIL)) == {table}
        assert tables_of(repair(filled, SINCE, UNTIL, {}).rebuilt) == {table}
    assert disagreements(filled) == []


def test_rows_that_are_there_twice_are_found_and_mended_in_every_table(filled: Client) -> None:
    for table in rollup_names():
        # Through the partitions of a copy, so that no view passes the rows on.
        filled.command(f"CREATE TABLE doubled AS {table}")
        filled.command(f"INSERT INTO doubled SELECT * FROM {table} WHERE cityHash64(*) % 2 = 0")
        for (partition,) in filled.query("SELECT DISTINCT _partition_id FROM doubled").result_rows:
            filled.command(f"ALTER TABLE {table} ATTACH PARTITION ID '{partition}' FROM doubled")
        filled.command("DROP TABLE doubled")
        assert tables_of(differing_periods(filled, SINCE, UNTIL)) == {table}
        assert tables_of(repair(filled, SINCE, UNTIL, {}).rebuilt) == {table}
    assert disagreements(filled) == []


def test_an_insert_that_is_repeated_after_a_repair_is_dropped_as_before(filled: Client) -> None:
    filled.command("ALTER TABLE throughput_1m DELETE WHERE kind = 'started' SETTINGS mutations_sync = 2")
    assert repair(filled, SINCE, UNTIL, {}).rebuilt
    insert_events(filled, 1000, SECOND, seed=2, token="second")
    assert differing_periods(filled, SINCE, UNTIL) == []


def test_what_a_sink_may_still_insert_is_left_alone(filled: Client) -> None:
    filled.command("ALTER TABLE throughput_1m DELETE WHERE kind = 'started' SETTINGS mutations_sync = 2")
    done = repair(filled, SINCE, UNTIL, {"job_events": {0: range(1000, 2000)}})
    assert {each.start.date() for each in done.rebuilt} == {FIRST.date()}
    assert {each.start.date() for each in done.announced} == {SECOND.date()}
    assert differing_periods(filled, SINCE, UNTIL) == done.announced


def test_rows_whose_raw_rows_are_gone_are_kept_and_named(filled: Client) -> None:
    filled.command(f"ALTER TABLE job_events DROP PARTITION '{FIRST:%Y-%m-%d}'")
    done = repair(filled, SINCE, UNTIL, {})
    assert done.rebuilt == [] and {each.start.date() for each in done.without_raw_rows} == {FIRST.date()}
    assert filled.command(f"SELECT sum(events) FROM throughput_1m WHERE toDate(minute) = '{FIRST:%Y-%m-%d}'")


def test_only_times_of_which_no_raw_row_has_expired_are_compared() -> None:
    now = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
    assert complete_since(90, now) == datetime(2026, 8, 26, 12, 0, tzinfo=UTC)
