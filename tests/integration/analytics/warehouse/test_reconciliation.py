"""`analytics/warehouse/reconciliation/` compares each rollup with the raw events, column by column."""

import re

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics.warehouse.reconciliation.disagreements import FOLDER, disagreements, rollup_names
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.schemas.registry import current_schema
from tests.support.job_events import life_of_jobs


@pytest.fixture
def filled(clickhouse: Client) -> Client:
    """A database in which every rollup has rows."""
    values = [value for _, value in life_of_jobs(300)]
    file = AvroFile(current_schema("JobEvent"))
    body = file.build(0, range(len(values)), values)
    clickhouse.raw_insert("job_events_landing", file.field_names, body, settings=INSERT_SETTINGS, fmt="Avro")
    clickhouse.command(
        "INSERT INTO worker_heartbeats (worker_id, occurred_at, capacity, busy, queued, cpu_percent) "
        "SELECT 'worker-1', now64(6) - number, 4, number % 4, number % 3, if(number = 7, inf, number) FROM numbers(100)"
    )
    return clickhouse


def test_every_aggregating_table_is_compared_in_every_column(clickhouse: Client) -> None:
    rows = clickhouse.query(
        "SELECT table, groupArray(name) FROM system.columns WHERE database = currentDatabase() AND table IN "
        "(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'AggregatingMergeTree') "
        "GROUP BY table"
    ).result_rows
    assert {table for table, _ in rows} == set(rollup_names()) - {"job_attempts"}
    for table, columns in rows:
        asked = re.sub(r"^--.*\n", "", (FOLDER / f"{table}.sql").read_text("utf-8"), flags=re.M).split(";")[0]
        for column in columns:
            assert re.search(rf"\b{column}\b", asked), f"{table}.{column}"


def test_what_the_tables_make_of_the_events_agrees(filled: Client) -> None:
    for table in rollup_names():
        assert filled.command(f"SELECT count() FROM {table}"), table
    assert disagreements(filled) == []


@pytest.mark.parametrize("table", rollup_names())
def test_rows_that_are_there_twice_are_noticed(filled: Client, table: str) -> None:
    filled.command(f"INSERT INTO {table} SELECT * FROM {table}")
    assert table in {each.split(":")[0] for each in disagreements(filled)}


@pytest.mark.parametrize("table", ["latency_1m", "latency_1h", "lane_latency_1m"])
@pytest.mark.parametrize("stage", ["queue_wait", "run", "total"])
def test_every_stage_is_compared(filled: Client, table: str, stage: str) -> None:
    filled.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE stage = '{stage}'")
    assert table in {each.split(":")[0] for each in disagreements(filled)}


def test_durations_that_are_no_numbers_count_as_none(filled: Client) -> None:
    durations = ["1", "0", "inf", "-inf", "nan", "NULL"]
    filled.command(
        "INSERT INTO job_events (kind, final, submitted_at, occurred_at, attempt, wait_ms, run_ms, cpu_ms) VALUES "
        + ", ".join(
            f"('failed', 1, now64(6), now64(6), 1, {wait}, {run}, {cpu})"
            for wait in durations for run in durations for cpu in durations
        )
    )  # fmt: skip
    assert disagreements(filled) == []
    for table in ("cost_1m", "cost_1h"):
        sums = "sum(run_ms), sum(cpu_ms), sum(vcpu_ms)"
        found = filled.query(f"SELECT {sums} FROM {table} WHERE tenant = ''").result_rows[0]
        # Six waits with: run 1 or 0 whatever the CPU time; the CPU time whatever the run time; whichever is more.
        assert found == (6 * 6 * 1, 6 * 6 * 1, 6 * (6 * 1 + 1)), table
