-- Which jobs took longest, and where did their time go?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the final outcome); tenant, job_type ('' for all).
-- Columns: job_id, tenant, job_type, lane, outcome, attempt (the last one), submitted_at, finished_at (UTC), total_ms
--   (submission to the outcome), last_wait_ms, last_run_ms (of the last attempt), earlier_ms (earlier attempts and the
--   delays between), worker_id, error_type. At most 50 rows, slowest first.
-- Example: SELECT job_id, job_type, total_ms, last_wait_ms, last_run_ms, earlier_ms
--          FROM slowest_jobs(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00', tenant='', job_type='') LIMIT 3
CREATE OR REPLACE VIEW slowest_jobs AS
SELECT
    job_id, job_attempts.tenant AS tenant, job_attempts.job_type AS job_type, lane, outcome, attempt, submitted_at, finished_at, total_ms,
    ifNull(wait_ms, 0) AS last_wait_ms,
    ifNull(run_ms, 0) AS last_run_ms,
    greatest(0, total_ms - last_wait_ms - last_run_ms) AS earlier_ms,
    worker_id, error_type
FROM job_attempts
WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')} AND final
  AND ({tenant:String} = '' OR job_attempts.tenant = {tenant:String})
  AND ({job_type:String} = '' OR job_attempts.job_type = {job_type:String})
ORDER BY total_ms DESC, job_id
LIMIT 50;
