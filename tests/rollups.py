"""Do the tables that ClickHouse fills by itself say the same as the raw events?"""

from clickhouse_connect.driver.client import Client

OUTCOME = "kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')"


def counts(client: Client) -> dict[str, int]:
    """Rows, or events counted, in each table; those of the rollups are sums over their rows."""
    names = ("raw", "distinct", "outcomes", "attempts", "throughput", "latency", "cost")
    row = client.query(
        f"""
        SELECT (SELECT count() FROM job_events),
               (SELECT uniqExact(kafka_partition, kafka_offset) FROM job_events),
               (SELECT countIf({OUTCOME}) FROM job_events),
               (SELECT count() FROM job_attempts),
               (SELECT sum(events) FROM throughput_1m),
               (SELECT sumIf(attempts, stage = 'run') FROM latency_1m),
               (SELECT sum(attempts) FROM cost_1m)
        """
    ).result_rows[0]
    return dict(zip(names, map(int, row), strict=True))


def disagreements(client: Client) -> list[str]:
    """Each rollup against the same question asked of the raw table; empty when they agree."""
    problems = []
    for name, rollup, raw in QUESTIONS:
        ours, theirs = client.query(rollup).result_rows, client.query(raw).result_rows
        if ours != theirs:
            problems.append(f"{name}: {len(ours)} rows, from raw {len(theirs)}: {ours[:3]} and {theirs[:3]}")
    return problems


QUESTIONS = [
    (
        "throughput_1m",
        "SELECT minute, lane, tenant, job_type, kind, sum(events) FROM throughput_1m GROUP BY ALL ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), lane, tenant, job_type, kind, count() "
        "FROM job_events GROUP BY ALL ORDER BY ALL",
    ),
    (
        "latency_1m",
        "SELECT minute, lane, tenant, job_type, sum(attempts), round(max(max_ms), 6), "
        "quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles) "
        "FROM latency_1m WHERE stage = 'run' GROUP BY minute, lane, tenant, job_type ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), lane, tenant, job_type, count(), round(max(assumeNotNull(run_ms)), 6), "
        "quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(run_ms)) "
        f"FROM job_events WHERE {OUTCOME} GROUP BY toStartOfMinute(occurred_at), lane, tenant, job_type ORDER BY ALL",
    ),
    (
        "cost_1m",
        "SELECT minute, tenant, job_type, lane, instance_type, outcome, sum(attempts), round(sum(run_ms), 3) "
        "FROM cost_1m GROUP BY minute, tenant, job_type, lane, instance_type, outcome ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, kind, count(), "
        f"round(sum(assumeNotNull(run_ms)), 3) FROM job_events WHERE {OUTCOME} "
        "GROUP BY toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, kind ORDER BY ALL",
    ),
    (
        "job_attempts",
        "SELECT job_id, attempt, outcome, finished_at, wait_ms, run_ms, error_type FROM job_attempts ORDER BY ALL",
        "SELECT job_id, attempt, kind, occurred_at, wait_ms, run_ms, error_type "
        f"FROM job_events WHERE {OUTCOME} ORDER BY ALL",
    ),
]
