"""The replicated and sharded variant: made of the same files, and every statement is one that the engine can parse."""

import re

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import table_names, view_names
from millstream.analytics.cluster import NotForClusters, clustered
from millstream.analytics.migrate import follow_up, statements

VARIANT = [*statements("main"), *follow_up("main")]


def test_the_engine_parses_every_statement(clickhouse: Client) -> None:
    for statement in VARIANT:
        tree = str(clickhouse.command(f"EXPLAIN AST {statement.rstrip(';')}"))
        assert tree.split(maxsplit=1)[0].endswith(("Query", "Rename")), statement


def test_every_table_is_replicated_within_its_shard_and_reached_through_a_distributed_one() -> None:
    text = "\n".join(VARIANT)
    for table in table_names():
        local = re.search(rf"CREATE TABLE IF NOT EXISTS {table}_local ON CLUSTER `main`.*?ENGINE = (\w+)", text, re.S)
        assert local is not None
        assert local[1].startswith("Replicated") or local[1] == "Null"
        assert f"CREATE OR REPLACE TABLE {table} ON CLUSTER `main` AS {table}_local\nENGINE = Distributed" in text
    assert "non_replicated_deduplication_window" not in text
    assert text.count(" replicated_deduplication_window") == len(re.findall(r"ENGINE = Replicated", text))


def test_materialised_views_fill_local_tables_from_local_tables() -> None:
    views = [each for each in VARIANT if each.startswith("CREATE MATERIALIZED VIEW")]
    assert len(views) == "\n".join(statements()).count("CREATE MATERIALIZED VIEW")
    for view in views:
        assert re.search(r" ON CLUSTER `main` TO \w+_local AS", view)
        assert all(name.endswith("_local") for name in re.findall(r"FROM (\w+)", view)), view


def test_what_is_known_of_a_job_is_on_one_shard() -> None:
    keys = dict(re.findall(r"TABLE (\w+) ON CLUSTER .*\nENGINE = Distributed\(.*, (.*)\)$", "\n".join(VARIANT), re.M))
    for table in ("job_events_landing", "job_events_check", "job_events", "job_attempts", "jobs"):
        assert keys[table] == "cityHash64(job_id)"
    assert keys["worker_beats_landing"] == "cityHash64(worker_id)"
    assert keys["price_book"] == "cityHash64(instance_type)"


def test_views_read_the_tables_over_all_shards() -> None:
    views = [each for each in VARIANT if each.startswith("CREATE OR REPLACE VIEW")]
    assert len(views) == len(view_names())
    assert not any("_local" in view for view in views)


def test_a_statement_without_a_rule_is_an_error() -> None:
    with pytest.raises(NotForClusters, match="DROP TABLE"):
        clustered("DROP TABLE job_events", "main", ["job_events"])
