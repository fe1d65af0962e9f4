-- Which jobs are good examples: failed ones of the tenant and type with most failures first, then the slowest?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome).
-- Columns: job_id, tenant, job_type, outcome, attempt, total_ms (submission to outcome), similar (failed attempts of
--   the same tenant, type and error in the window). At most 20 rows.
-- Example: SELECT * FROM example_jobs(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') LIMIT 5
CREATE OR REPLACE VIEW example_jobs AS
SELECT
    job_id, tenant, job_type, outcome, attempt, total_ms,
    if(outcome = 'succeeded', 0, count() OVER (PARTITION BY tenant, job_type, outcome, error_type)) AS similar
FROM job_attempts
WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
ORDER BY similar DESC, total_ms DESC
LIMIT 20;
