"""A repeated insert changes nothing: not the raw table, not what materialised views make of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.analytics import connect, migrate
from millstream.analytics.warehouse.reconciliation.disagreements import disagreements
from millstream.consumers.sink.avro_file import AvroFile
from millstream.consumers.sink.writer import INSERT_SETTINGS
from millstream.local.clickhouse.process import EmbeddedClickHouse
from millstream.schemas.registry import current_schema
from tests.support.job_events import life_of_jobs, many_events
from tests.support.rollups import counts

FILE = AvroFile(current_schema("JobEvent"))


def insert(client: Client, body: bytes, token: str) -> None:
    settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
    client.raw_insert("job_events_landing", FILE.field_names, body, settings=settings, fmt="Avro")


def file_of(values: list[bytes]) -> bytes:
    return FILE.build(0, range(len(values)), values)


@pytest.fixture(scope="module")
def body() -> bytes:
    return file_of([value for _, value in life_of_jobs(500)])


def test_the_same_token_twice_leaves_every_table_as_it_was(clickhouse: Client, body: bytes) -> None:
    insert(clickhouse, body, "events:0:0:1500")
    before = counts(clickhouse)
    assert (before["raw"], before["attempts"], before["throughput"]) == (1500, 500, 1500)
    insert(clickhouse, body, "events:0:0:1500")
    assert counts(clickhouse) == before
    assert disagreements(clickhouse) == []


def test_another_token_with_identical_rows_is_not_dropped_anywhere(clickhouse: Client, body: bytes) -> None:
    insert(clickhouse, body, "events:0:0:1500")
    before = counts(clickhouse)
    insert(clickhouse, body, "events:1:0:1500")
    after = counts(clickhouse)
    assert {name: after[name] for name in after if name != "distinct"} == {
        name: 2 * before[name] for name in before if name != "distinct"
    }
    assert disagreements(clickhouse) == []


@pytest.mark.parametrize("source", ["job_events", "job_attempts"])
def test_a_try_that_died_half_way_is_completed_by_its_repeat(clickhouse: Client, body: bytes, source: str) -> None:
    clickhouse.command("CREATE TABLE target (x UInt8) ENGINE = MergeTree ORDER BY x")
    clickhouse.command(f"CREATE MATERIALIZED VIEW a_trap TO target AS SELECT throwIf(1) AS x FROM {source}")
    with pytest.raises(DatabaseError):
        insert(clickhouse, body, "events:0:0:1500")
    clickhouse.command("DROP VIEW a_trap")
    print("after the half-way try:", counts(clickhouse))
    for _ in range(2):
        insert(clickhouse, body, "events:0:0:1500")
        assert counts(clickhouse) == {
            "raw": 1500, "distinct": 1500, "outcomes": 500, "attempts": 500,
            "throughput": 1500, "latency": 500, "cost": 500,
        }  # fmt: skip
    assert disagreements(clickhouse) == []


def test_repeats_at_the_same_time_are_dropped_too(clickhouse: Client, body: bytes) -> None:
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(insert, clickhouse, body, "events:0:0:1500") for _ in range(6)]:
            job.result()
    found = counts(clickhouse)
    assert (found["raw"], found["attempts"], found["throughput"], found["cost"]) == (1500, 500, 1500, 500)
    assert disagreements(clickhouse) == []


def test_three_hundred_thousand_rows_are_one_block_and_are_dropped_whole(clickhouse: Client) -> None:
    large = file_of([value for _, value in many_events(300_000)])
    insert(clickhouse, large, "events:0:0:300000")
    parts = clickhouse.query(
        "SELECT count(), max(level) FROM system.parts "
        "WHERE database = currentDatabase() AND table = 'job_events' AND active"
    ).result_rows[0]
    days = clickhouse.query("SELECT uniqExact(toDate(occurred_at)) FROM job_events").result_rows[0][0]
    assert parts == (days, 0), "a part for each day and none merged: the insert was one block"
    before = counts(clickhouse)
    assert before["raw"] == before["distinct"] == 300_000
    insert(clickhouse, large, "events:0:0:300000")
    assert counts(clickhouse) == before


def test_events_of_more_days_than_an_insert_may_otherwise_have_are_inserted_whole_and_once(clickhouse: Client) -> None:
    """Late events and clocks that are wrong: a day is a partition of the raw tables."""
    days = [datetime.now(UTC) + timedelta(days=day) for day in range(-60, 61)]
    values = [value for day in days for _, value in life_of_jobs(2, around=day)]
    for _ in range(2):
        insert(clickhouse, file_of(values), "events:0:0:726")
        found = counts(clickhouse)
        assert found["raw"] == found["distinct"] == found["throughput"] == 3 * 2 * len(days)
        assert found["attempts"] == found["latency"] == found["cost"] == 2 * len(days)
    assert clickhouse.query("SELECT uniqExact(toDate(occurred_at)) FROM job_events").result_rows[0][0] >= len(days)
    assert disagreements(clickhouse) == []


def test_a_repeat_after_clickhouse_was_started_again_is_dropped_in_every_table(body: bytes, tmp_path: Path) -> None:
    """The tokens that a view passes on come from its identity, which has to outlast the server's process."""
    with EmbeddedClickHouse(tmp_path, password="") as server:
        client = connect(server.url)
        migrate(client)
        insert(client, body, "events:0:0:1500")
        before = counts(client)
        server.stop()
        server.start()
        insert(client, body, "events:0:0:1500")
        assert counts(client) == before
        assert disagreements(client) == []
