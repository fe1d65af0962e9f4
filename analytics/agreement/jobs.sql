-- jobs: what became of each job, in how many attempts?
-- First as the table says, then as the raw events say.
SELECT
    job_id, tenant, job_type, any(lane), submitted_at, max(updated_at), min(started_at), max(finished_at),
    max(outcome), sum(executions), sum(attempts), sum(retries), sum(dead_letters), round(sum(wait_ms), 6),
    round(sum(run_ms), 6), round(sum(wasted_run_ms), 6), max(max_rss_bytes), max(error_type)
FROM jobs
GROUP BY job_id, tenant, job_type, submitted_at;

SELECT
    job_id, tenant, job_type, any(lane), submitted_at, max(occurred_at), min(job_events.started_at),
    maxIf(toNullable(occurred_at), final), maxIf(kind, final), countIf(kind = 'started'),
    countIf(kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')), countIf(kind = 'retry_scheduled'),
    countIf(kind = 'dead_lettered'),
    round(sumIf(assumeNotNull(wait_ms), kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')), 6),
    round(sumIf(assumeNotNull(run_ms), kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')), 6),
    round(sumIf(assumeNotNull(run_ms), kind IN ('failed', 'timed_out', 'cancelled')), 6),
    max(ifNull(max_rss_bytes, 0)), maxIf(error_type, final)
FROM job_events
GROUP BY job_id, tenant, job_type, submitted_at;
