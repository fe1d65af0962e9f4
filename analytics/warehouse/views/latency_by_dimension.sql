-- Which worker, host, release or label is slow?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome); by ('tenant', 'job_type', 'lane',
--   'worker_id', 'host', 'region', 'instance_type', 'worker_version', 'source', 'outcome', 'error_type', or the name of
--   a label; '' for all in one row).
-- Columns: dimension (value of `by`; empty where it has none), attempts (count), wait_p50_ms, wait_p95_ms, wait_p99_ms,
--   run_p50_ms, run_p95_ms, run_p99_ms, total_p95_ms (submission to the outcome; all within 1 %). Attempts that were not
--   measured, such as those that never started, count in attempts only; a percentile of no attempt is NULL.
-- Reads the attempts one by one: for lane, tenant and job type over days, latency_percentiles reads less.
-- Example: SELECT * FROM latency_by_dimension(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00',
--   by='worker_version')
CREATE OR REPLACE VIEW latency_by_dimension AS
WITH measured AS
(
    SELECT
        multiIf(
            {by:String} = '', '',
            {by:String} = 'tenant', toString(tenant),
            {by:String} = 'job_type', toString(job_type),
            {by:String} = 'lane', toString(lane),
            {by:String} = 'worker_id', toString(worker_id),
            {by:String} = 'host', toString(host),
            {by:String} = 'region', toString(region),
            {by:String} = 'instance_type', toString(instance_type),
            {by:String} = 'worker_version', toString(worker_version),
            {by:String} = 'source', toString(source),
            {by:String} = 'outcome', toString(outcome),
            {by:String} = 'error_type', toString(error_type),
            labels[{by:String}]
        ) AS dimension,
        count() AS attempts,
        quantilesDDIf(0.01, 0.5, 0.95, 0.99)(assumeNotNull(wait_ms), isFinite(wait_ms)) AS wait_levels,
        quantilesDDIf(0.01, 0.5, 0.95, 0.99)(assumeNotNull(run_ms), isFinite(run_ms)) AS run_levels,
        quantileDDIf(0.01, 0.95)(total_ms, isFinite(total_ms)) AS total_p95_ms,
        arrayMap(ms -> if(isFinite(ms), ms, NULL), wait_levels) AS waits,
        arrayMap(ms -> if(isFinite(ms), ms, NULL), run_levels) AS runs
    FROM job_attempts
    WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
    GROUP BY dimension
)
SELECT
    dimension, attempts,
    waits[1] AS wait_p50_ms, waits[2] AS wait_p95_ms, waits[3] AS wait_p99_ms,
    runs[1] AS run_p50_ms, runs[2] AS run_p95_ms, runs[3] AS run_p99_ms, total_p95_ms
FROM measured
ORDER BY ifNull(wait_p95_ms, 0) + ifNull(run_p95_ms, 0) DESC, dimension;
