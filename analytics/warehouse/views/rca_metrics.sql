-- How many attempts of a window failed, and how long did they wait and run, by one dimension?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome); by ('' for one row, or 'tenant', 'job_type',
--   'lane', 'host', 'worker_id', 'worker_version', 'region', 'instance_type', 'outcome', 'error_type', or the name of a
--   label).
-- Columns: value (of `by`), attempts (with an outcome), jobs (of them), failed (failed and timed out), failure_rate
--   (failed of attempts), retries (attempts beyond a job's first), wait_p50_ms (for a worker), wait_p95_ms (for a
--   worker), run_p50_ms (of the handler), run_p95_ms (of the handler), cpu_share (CPU time of the run time), busy_slots
--   (attempts that ran at once, on average). Most attempts first.
-- Example: SELECT * FROM rca_metrics(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', by='worker_version')
CREATE OR REPLACE VIEW rca_metrics AS
SELECT
    multiIf({by:String} = '', '',
            {by:String} = 'tenant', toString(tenant),
            {by:String} = 'job_type', toString(job_type),
            {by:String} = 'lane', toString(lane),
            {by:String} = 'host', toString(host),
            {by:String} = 'worker_id', toString(worker_id),
            {by:String} = 'worker_version', toString(worker_version),
            {by:String} = 'region', toString(region),
            {by:String} = 'instance_type', toString(instance_type),
            {by:String} = 'outcome', toString(outcome),
            {by:String} = 'error_type', toString(error_type),
            labels[{by:String}]) AS value,
    count() AS attempts,
    uniqExact(job_id) AS jobs,
    countIf(outcome IN ('failed', 'timed_out')) AS failed,
    if(attempts = 0, 0, failed / attempts) AS failure_rate,
    countIf(attempt > 1) AS retries,
    ifNull(quantileExact(0.5)(wait_ms), 0) AS wait_p50_ms,
    ifNull(quantileExact(0.95)(wait_ms), 0) AS wait_p95_ms,
    ifNull(quantileExact(0.5)(run_ms), 0) AS run_p50_ms,
    ifNull(quantileExact(0.95)(run_ms), 0) AS run_p95_ms,
    if(sum(run_ms) > 0, sum(cpu_ms) / sum(run_ms), 0) AS cpu_share,
    ifNull(sum(run_ms), 0) / greatest(1, dateDiff('millisecond', {from:DateTime64(6, 'UTC')}, {to:DateTime64(6, 'UTC')}))
        AS busy_slots
FROM job_attempts
WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
GROUP BY value
ORDER BY attempts DESC, value;
