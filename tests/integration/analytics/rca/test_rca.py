"""Attribution on real tables: every metric's planted cause is named, and its SQL gives the counts it claims."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from millstream.analytics import rca

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
INCIDENT = rca.Window(START, START + timedelta(minutes=30))
PREVIOUS = rca.Window(START - timedelta(minutes=30), START)

INSERT = """
INSERT INTO job_attempts
    (job_id, attempt, tenant, job_type, lane, source, labels, outcome, final, submitted_at, started_at, finished_at,
     wait_ms, run_ms, total_ms, cpu_ms, worker_id, host, region, instance_type, worker_version)
WITH
    number >= 6000 AS now, tenant = 'tenant-2' AND host = 'host-3' AND now AS hit,
    concat('tenant-', toString(number % 5)) AS tenant, concat('host-', toString(intDiv(number, 5) % 4)) AS host,
    toDateTime64('2026-11-24 09:30:00', 6, 'UTC') + toIntervalMillisecond(intDiv(number * 3600000, 12000)) AS at
SELECT
    generateUUIDv4(), if(hit AND number % 7 < 4 OR number % 97 = 0, 2, 1), tenant,
    concat('type-', toString(number % 3)), 'default', 'test',
    map('team', if(number % 7 < 3, 'red', 'blue'), 'order', toString(number)),
    if(number % 50 = 7 OR hit AND number % 4 < 2, 'failed', 'succeeded'), 1, at, at, at,
    if(hit, 5000, 10 + number % 20), if(hit, 4000, 100 + number % 200), 100, 10,
    concat('worker-', toString(intDiv(number, 5) % 8)), host, 'eu', 'm5.large', '1.4.1'
FROM numbers(12000)
WHERE NOT (hit AND {thin:Bool})
"""


@pytest.fixture
def attempts(clickhouse: Client) -> Client:
    clickhouse.command(INSERT, parameters={"thin": False})
    clickhouse.command(
        "INSERT INTO changes (change_id, occurred_at, kind, service, version, summary, labels) VALUES "
        "(generateUUIDv4(), '2026-11-24 09:59:00', 'config', 'pool', '', 'smaller pool', map('host', 'host-3')), "
        "(generateUUIDv4(), '2026-11-24 10:00:01', 'deploy', 'web', '9', 'new colours', map())"
    )
    return clickhouse


@pytest.mark.parametrize("metric", ["failure_rate", "queue_wait", "run_time", "cost", "retries"])
def test_the_planted_cause_of_each_metric_is_named_and_its_sql_gives_its_counts(attempts: Client, metric: str) -> None:
    found = rca.explain(attempts, metric, INCIDENT)
    assert found.baseline == (PREVIOUS,)
    assert found.attribution.verdict == "causes"
    first, evidence = found.attribution.findings[0], found.evidence[0]
    assert first.dimensions == {"tenant": "tenant-2", "host": "host-3"}
    bad_before, of_before, bad_now, of_now = attempts.query(evidence.sql).result_rows[0]
    assert (bad_before, bad_now) == pytest.approx((first.before.bad, first.now.bad))
    if metric != "cost":
        assert (of_before, of_now) == (first.before.of, first.now.of)
    assert len(evidence.example_jobs) == 5
    assert evidence.first_seen is not None
    assert INCIDENT.start <= evidence.first_seen < INCIDENT.end
    assert [change.summary for change in evidence.changes] == ["smaller pool", "new colours"]
    assert evidence.next_command == f"millstream rca job {evidence.example_jobs[0]}"
    assert asdict(found)["attribution"]["findings"]


def test_attempts_that_stay_away_are_a_drop_of_throughput(clickhouse: Client) -> None:
    clickhouse.command(INSERT, parameters={"thin": True})
    found = rca.explain(clickhouse, "throughput_drop", INCIDENT)
    assert found.attribution.findings[0].dimensions == {"tenant": "tenant-2", "host": "host-3"}
    assert found.evidence[0].first_seen is None
    assert len(found.evidence[0].example_jobs) == 5


def test_ids_and_constants_are_left_out_and_labels_are_dimensions(attempts: Client) -> None:
    found = rca.explain(attempts, "failure_rate", INCIDENT)
    assert "labels.team" in found.dimensions
    assert "labels.order" in found.left_out
    assert found.left_out["region"] == "a single value"


def test_the_same_hours_of_earlier_days_are_the_baseline_where_there_are_enough(attempts: Client) -> None:
    for day in (1, 2, 3):
        attempts.command(
            f"INSERT INTO job_attempts SELECT * REPLACE (finished_at - INTERVAL {day} DAY AS finished_at, "
            "if(tenant = 'tenant-2' AND host = 'host-3', 'succeeded', outcome) AS outcome) FROM (SELECT * FROM "
            "job_attempts WHERE finished_at >= '2026-11-24 10:00:00' AND finished_at < '2026-11-24 10:30:00')"
        )
    found = rca.explain(attempts, "failure_rate", INCIDENT)
    days = [timedelta(days=day) for day in (1, 2, 3)]
    assert list(found.baseline) == [rca.Window(INCIDENT.start - day, INCIDENT.end - day) for day in days]
    assert found.attribution.findings[0].dimensions == {"tenant": "tenant-2", "host": "host-3"}


def test_without_a_past_the_incident_is_compared_with_its_own_rest(attempts: Client) -> None:
    found = rca.explain(attempts, "failure_rate", INCIDENT, baseline=())
    assert found.attribution.compared_with == "the rest"
    assert found.attribution.findings[0].dimensions == {"tenant": "tenant-2", "host": "host-3"}


def test_only_attempts_asked_for_count(attempts: Client) -> None:
    found = rca.explain(attempts, "failure_rate", INCIDENT, where={"tenant": "tenant-1"})
    assert found.attribution.verdict in ("nothing unusual", "too little data")
    assert "tenant" not in found.dimensions


def test_an_empty_window_is_too_little_data(clickhouse: Client) -> None:
    found = rca.explain(clickhouse, "failure_rate", INCIDENT)
    assert (found.attribution.verdict, found.evidence) == ("too little data", [])
