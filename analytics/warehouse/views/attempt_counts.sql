-- Does every attempt have exactly one row?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome).
-- Columns: attempts (rows), distinct_attempts (of (job, attempt)), doubled (rows beyond one an attempt; 0 is right),
--   jobs (with an outcome), finished_jobs (with a final outcome).
-- Example: SELECT * FROM attempt_counts(from='2026-11-24', to='2026-11-25')
CREATE OR REPLACE VIEW attempt_counts AS
SELECT
    count() AS attempts,
    uniqExact(job_id, attempt) AS distinct_attempts,
    attempts - distinct_attempts AS doubled,
    uniqExact(job_id) AS jobs,
    uniqExactIf(job_id, final) AS finished_jobs
FROM job_attempts
WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')};
