"""The statements of a single server, rewritten for a cluster."""

import re

import pytest

from millstream.analytics import table_names, view_names
from millstream.analytics.warehouse.cluster import NotForClusters, clustered
from millstream.analytics.warehouse.migrate import follow_up, statements

VARIANT = [*statements("main"), *follow_up("main")]


def test_every_table_is_replicated_within_its_shard_and_reached_through_a_distributed_one() -> None:
    text = "\n".join(VARIANT)
    for table in table_names():
        local = re.search(rf"CREATE TABLE IF NOT EXISTS {table}_local ON CLUSTER `main`.*?ENGINE = (\w+)", text, re.S)
        assert local is not None
        assert local[1].startswith("Replicated") or local[1] == "Null"
        assert f"CREATE OR REPLACE TABLE {table} ON CLUSTER `main` AS {table}_local\nENGINE = Distributed" in text
    assert "non_replicated_deduplication_window" not in text
    assert text.count("SETTINGS replicated_deduplication_window") == len(re.findall(r"ENGINE = Replicated", text))


def test_materialised_views_fill_local_tables_from_local_tables() -> None:
    views = [each for each in VARIANT if each.startswith("CREATE MATERIALIZED VIEW")]
    assert len(views) == "\n".join(statements()).count("CREATE MATERIALIZED VIEW")
    for view in views:
        assert re.search(r" ON CLUSTER `main` TO \w+_local AS", view)
        assert all(name.endswith("_local") for name in re.findall(r"FROM (\w+)", view)), view


def test_all_rows_of_a_job_are_on_one_shard() -> None:
    keys = dict(re.findall(r"TABLE (\w+) ON CLUSTER .*\nENGINE = Distributed\(.*, (.*)\)$", "\n".join(VARIANT), re.M))
    for table in ("job_events_landing", "job_events_check", "job_events", "job_attempts", "jobs"):
        assert keys[table] == "cityHash64(job_id)"
    assert keys["worker_heartbeats_landing"] == "cityHash64(worker_id)"
    assert keys["price_book"] == "cityHash64(instance_type)"


def test_views_read_the_tables_over_all_shards() -> None:
    views = [each for each in VARIANT if each.startswith("CREATE OR REPLACE VIEW")]
    assert len(views) == len(view_names())
    assert not any("_local" in view for view in views)


def test_a_statement_without_a_rule_is_an_error() -> None:
    with pytest.raises(NotForClusters, match="DROP TABLE"):
        clustered("DROP TABLE job_events", "main", {})


def test_a_column_that_has_the_name_of_a_table_keeps_it() -> None:
    view = (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO jobs AS SELECT max(jobs.x) AS alerts FROM alerts JOIN jobs USING x"
    )
    (text,) = clustered(view, "main", dict.fromkeys(("jobs", "alerts"), "(x)"))
    assert text.endswith(
        "TO jobs_local AS SELECT max(jobs_local.x) AS alerts FROM alerts_local JOIN jobs_local USING x"
    )


def test_a_view_is_dropped_on_every_node() -> None:
    assert clustered("DROP VIEW IF EXISTS old", "main", {}) == ["DROP VIEW IF EXISTS old ON CLUSTER `main`"]
