-- jobs: what was the final outcome of each job, after how many attempts?
-- The first query reads the table, the second the raw events.
SELECT
    toStartOfMinute(submitted_at) AS period,
    job_id, tenant, job_type, any(lane), any(ordering_key), any(source), any(labels), submitted_at, max(updated_at),
    min(started_at), max(finished_at), max(outcome), sum(executions), sum(attempts), sum(retries), sum(dead_letters),
    round(sum(wait_ms), 6), round(sum(run_ms), 6), round(sum(wasted_run_ms), 6), round(sum(cpu_ms), 6),
    max(max_rss_bytes), max(error_type), max(error_message), max(error_fingerprint)
FROM jobs
GROUP BY job_id, tenant, job_type, submitted_at;

WITH
    kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AS is_outcome,
    is_outcome AND isFinite(run_ms) AS ran
SELECT
    toStartOfMinute(submitted_at) AS period,
    job_id, tenant, job_type, any(lane), any(ordering_key), any(source), any(labels), submitted_at, max(occurred_at),
    min(job_events.started_at), maxIf(toNullable(occurred_at), final), maxIf(kind, final), countIf(kind = 'started'),
    countIf(is_outcome), countIf(kind = 'retry_scheduled'), countIf(kind = 'dead_lettered'),
    round(sumIf(assumeNotNull(wait_ms), is_outcome AND isFinite(wait_ms)), 6),
    round(sumIf(assumeNotNull(run_ms), ran), 6), round(sumIf(assumeNotNull(run_ms), ran AND kind != 'succeeded'), 6),
    round(sumIf(assumeNotNull(cpu_ms), is_outcome AND isFinite(cpu_ms)), 6),
    max(ifNull(max_rss_bytes, 0)), maxIf(error_type, final), maxIf(error_message, final),
    maxIf(error_fingerprint, final)
FROM job_events
WHERE kind != 'progress'
GROUP BY job_id, tenant, job_type, submitted_at;
