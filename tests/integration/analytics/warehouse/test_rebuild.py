"""What a rebuild would lose: rows that Kafka no longer has, and what outlives them in the tables behind."""

from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.warehouse.rebuild import Loss, losses, tables_behind
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.schemas.registry import current_schema
from tests.support.job_events import life_of_jobs

JOBS = 50
OLD, NEW = (datetime.now(UTC) - timedelta(days=days) for days in (40, 2))


@pytest.fixture
def filled(clickhouse: Client) -> Client:
    """Events of 40 days ago at the offsets from 0 on, of two days ago at those from 1000 on, all in partition 0."""
    file = AvroFile(current_schema("JobEvent"))
    for first, around in [(0, OLD), (1000, NEW)]:
        values = [value for _, value in life_of_jobs(JOBS, around=around)]
        body = file.build(0, range(first, first + len(values)), values)
        clickhouse.raw_insert("job_events_landing", file.field_names, body, settings=INSERT_SETTINGS, fmt="Avro")
    return clickhouse


def by_table(found: list[Loss]) -> dict[str, Loss]:
    return {loss.table: loss for loss in found}


def test_nothing_is_lost_of_what_kafka_has_in_full(filled: Client) -> None:
    assert losses(filled, "job_events", {0: range(1150), 1: range(0)}) == []


def test_rows_of_before_are_lost_in_every_table_and_those_since_are_not(filled: Client) -> None:
    found = by_table(losses(filled, "job_events", {0: range(1000, 1150)}))
    assert set(found) == set(tables_behind(filled, "job_events"))
    assert found["job_events"].rows == 3 * JOBS
    assert found["job_attempts"].rows == found["jobs"].rows == JOBS
    for loss in found.values():
        assert timedelta(0) <= loss.since - OLD.replace(minute=0, second=0, microsecond=0) < timedelta(hours=2)
    hours = (
        "SELECT uniqExact(hour, lane, tenant, job_type, kind) FROM throughput_1h WHERE hour < now() - INTERVAL 9 DAY"
    )
    assert found["throughput_1h"].rows == int(str(filled.command(hours)))


def test_rollups_that_outlived_their_rows_are_lost(filled: Client) -> None:
    filled.command("ALTER TABLE job_events DELETE WHERE kafka_offset < 1000 SETTINGS mutations_sync = 1")
    found = by_table(losses(filled, "job_events", {0: range(1000, 1150)}))
    assert set(found) == set(tables_behind(filled, "job_events")) - {"job_events"}
    filled.command("TRUNCATE TABLE job_events")
    everything = by_table(losses(filled, "job_events", {0: range(1000, 1150)}))
    assert everything["cost_1m"].rows > found["cost_1m"].rows


@pytest.mark.parametrize("again", [{0: range(1000)}, {0: range(0)}, {1: range(2000)}])
def test_rows_at_offsets_that_a_topic_made_anew_does_not_have_are_lost(filled: Client, again: dict[int, range]) -> None:
    found = by_table(losses(filled, "job_events", again))
    assert found["job_events"].rows == (3 * JOBS if again == {0: range(1000)} else 6 * JOBS)
    assert set(found) == set(tables_behind(filled, "job_events"))


@pytest.mark.parametrize(
    ("table", "time"),
    [
        ("worker_heartbeats", "occurred_at"),
        ("alerts", "opened_at"),
        ("dead_letters", "occurred_at"),
        ("changes", "occurred_at"),
    ],
)
def test_every_table_that_a_sink_fills_can_be_queried(clickhouse: Client, table: str, time: str) -> None:
    assert losses(clickhouse, table, {0: range(10)}) == []
    columns = f"kafka_partition, kafka_offset, {time}"
    clickhouse.command(f"INSERT INTO {table} ({columns}) VALUES (0, 10, now64(6)), (0, 9, now64(6))")
    (found, *_) = losses(clickhouse, table, {0: range(10)})
    assert (found.table, found.rows) == (table, 1)
    assert timedelta(0) <= datetime.now(UTC) - found.since < timedelta(minutes=1)
