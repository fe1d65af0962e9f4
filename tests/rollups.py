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
        "SELECT minute, tenant, job_type, lane, instance_type, outcome, team, sum(attempts), round(sum(run_ms), 3), "
        "round(sum(vcpu_ms), 3) "
        "FROM cost_1m GROUP BY minute, tenant, job_type, lane, instance_type, outcome, team ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, kind, labels['team'], count(), "
        "round(sum(assumeNotNull(run_ms)), 3), "
        f"round(sum(greatest(assumeNotNull(run_ms), assumeNotNull(cpu_ms))), 3) FROM job_events WHERE {OUTCOME} "
        "GROUP BY toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, kind, labels['team'] "
        "ORDER BY ALL",
    ),
    (
        "job_attempts",
        "SELECT job_id, attempt, outcome, finished_at, wait_ms, run_ms, error_type FROM job_attempts ORDER BY ALL",
        "SELECT job_id, attempt, kind, occurred_at, wait_ms, run_ms, error_type "
        f"FROM job_events WHERE {OUTCOME} ORDER BY ALL",
    ),
    (
        "jobs",
        "SELECT job_id, tenant, job_type, any(lane), submitted_at, max(updated_at), min(started_at), max(finished_at), "
        "max(outcome), sum(executions), sum(attempts), sum(retries), sum(dead_letters), round(sum(wait_ms), 6), "
        "round(sum(run_ms), 6), round(sum(wasted_run_ms), 6), max(max_rss_bytes), max(error_type) "
        "FROM jobs GROUP BY job_id, tenant, job_type, submitted_at ORDER BY job_id",
        "SELECT job_id, tenant, job_type, any(lane), submitted_at, max(occurred_at), min(job_events.started_at), "
        f"maxIf(toNullable(occurred_at), final), maxIf(kind, final), countIf(kind = 'started'), countIf({OUTCOME}), "
        "countIf(kind = 'retry_scheduled'), countIf(kind = 'dead_lettered'), "
        f"round(sumIf(assumeNotNull(wait_ms), {OUTCOME}), 6), round(sumIf(assumeNotNull(run_ms), {OUTCOME}), 6), "
        f"round(sumIf(assumeNotNull(run_ms), {OUTCOME} AND kind != 'succeeded'), 6), "
        "max(ifNull(max_rss_bytes, 0)), maxIf(error_type, final) "
        "FROM job_events GROUP BY job_id, tenant, job_type, submitted_at ORDER BY job_id",
    ),
    (
        "backlog_1m",
        "SELECT minute, lane, tenant, job_type, sum(submitted), sum(started), sum(finished) "
        "FROM backlog_1m GROUP BY ALL ORDER BY ALL",
        "SELECT toStartOfMinute(submitted_at), lane, tenant, job_type, countIf(kind = 'submitted'), "
        f"countIf(kind = 'started' AND attempt <= 1), countIf(final AND {OUTCOME}) "
        "FROM job_events GROUP BY ALL ORDER BY ALL",
    ),
    (
        "errors_1m",
        "SELECT minute, error_type, family, tenant, job_type, worker_version, sum(attempts), min(first_seen), "
        "max(last_seen) FROM errors_1m GROUP BY minute, error_type, family, tenant, job_type, worker_version "
        "ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), error_type, if(error_fingerprint = '', error_type, error_fingerprint), "
        "tenant, job_type, worker_version, count(), min(occurred_at), max(occurred_at) "
        "FROM job_events WHERE kind IN ('failed', 'timed_out') GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY ALL",
    ),
    (
        "partitions_1m",
        "SELECT minute, lane, request_partition, sum(attempts), round(sum(run_ms), 3), round(sum(wait_ms), 3), "
        "max(max_wait_ms) FROM partitions_1m GROUP BY minute, lane, request_partition ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), lane, request_partition, count(), round(sum(assumeNotNull(run_ms)), 3), "
        "round(sum(assumeNotNull(wait_ms)), 3), max(assumeNotNull(wait_ms)) "
        f"FROM job_events WHERE {OUTCOME} AND request_partition >= 0 GROUP BY 1, 2, 3 ORDER BY ALL",
    ),
    (
        "worker_usage",
        "SELECT minute, worker_id, host, sum(up_s), sum(capacity_s), sum(busy_s), round(sum(cpu_s), 6), "
        "max(max_rss_bytes), max(last_seen) FROM worker_usage GROUP BY minute, worker_id, host ORDER BY ALL",
        "SELECT toStartOfMinute(occurred_at), worker_id, host, count(), sum(capacity), sum(busy), "
        "round(sum(cpu_percent) / 100, 6), max(rss_bytes), max(occurred_at) "
        "FROM worker_beats GROUP BY 1, 2, 3 ORDER BY ALL",
    ),
]
