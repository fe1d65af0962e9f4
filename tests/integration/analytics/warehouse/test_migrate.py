"""Migrations bring a database to this release's schema, whatever it had before."""

import threading
import uuid

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import ClickHouseUnavailable, MigrationError, connect, migrate, pending, view_names


def test_a_second_run_finds_nothing_to_do(clickhouse: Client) -> None:
    assert pending(clickhouse) == []
    assert clickhouse.database is not None
    assert migrate(clickhouse, clickhouse.database) == []


def test_everything_is_pending_before_the_first_run_and_applied_by_it(clickhouse_url: str) -> None:
    database = f"t{uuid.uuid4().hex[:8]}"
    client = connect(clickhouse_url, database=database)
    before = pending(client)
    assert before[0] == "0001_job_events"
    try:
        assert [step.name for step in migrate(client, database)] == before
        assert pending(client) == []
        tables = {row[0] for row in client.query("SHOW TABLES").result_rows}
        assert {
            "job_events",
            "job_attempts",
            "throughput_1m",
            "latency_1m",
            "cost_1m",
            "price_book",
            "changes",
        } <= tables
        assert set(view_names()) <= tables
    finally:
        client.command(f"DROP DATABASE {database} SYNC")


def test_a_changed_file_is_an_error_that_names_it_and_nothing_is_applied(own_clickhouse: Client) -> None:
    own_clickhouse.command(
        "ALTER TABLE schema_migrations UPDATE md5 = 'other' WHERE version = 2 SETTINGS mutations_sync = 2"
    )
    with pytest.raises(MigrationError, match="0002_job_attempts"):
        pending(own_clickhouse)
    with pytest.raises(MigrationError, match="2"):
        migrate(own_clickhouse, own_clickhouse.database or "")


def test_two_runs_at_once_leave_one_schema(clickhouse_url: str) -> None:
    database = f"t{uuid.uuid4().hex[:8]}"
    clients = [connect(clickhouse_url, database=database) for _ in range(3)]
    errors: list[Exception] = []

    def run(client: Client) -> None:
        try:
            migrate(client, database)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert errors == []
        assert pending(clients[0]) == []
        prices = clients[0].query("SELECT count(), uniqExact(instance_type) FROM price_book").result_rows[0]
        assert prices[0] == prices[1] > 0
    finally:
        clients[0].command(f"DROP DATABASE {database} SYNC")


def test_retention_follows_the_setting(own_clickhouse: Client) -> None:
    assert own_clickhouse.database is not None
    migrate(own_clickhouse, own_clickhouse.database, raw_days=7, rollup_days=30)
    tables = own_clickhouse.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()")
    engines = {str(name): str(engine) for name, engine in tables.result_rows}
    assert "toIntervalDay(7)" in engines["job_events"]
    assert "toIntervalDay(7)" in engines["job_attempts"]
    assert all("toIntervalDay(30)" in engines[name] for name in ("throughput_1m", "latency_1m", "cost_1m"))


def test_the_landing_and_check_tables_have_the_columns_of_job_events(clickhouse: Client) -> None:
    def columns(table: str) -> list[tuple[str, str, str, str]]:
        return [tuple(row[:4]) for row in clickhouse.query(f"DESCRIBE TABLE {table}").result_rows]

    def plain(table: str) -> list[tuple[str, str]]:
        return [(name, kind.replace("LowCardinality(String)", "String")) for name, kind, *_ in columns(table)]

    assert columns("job_events_check") == columns("job_events_landing")
    assert plain("job_events_landing")[:-4] == plain("job_events")


def test_no_clickhouse_is_a_clear_error() -> None:
    with pytest.raises(ClickHouseUnavailable, match=r"127\.0\.0\.1:1 .*is it running"):
        connect("http://127.0.0.1:1", connect_timeout=1)
    with pytest.raises(ValueError, match="not an address"):
        connect("clickhouse://here")
