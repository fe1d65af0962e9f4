-- Which jobs were given up, and why?
--
-- Parameters: from, to (UTC, to is exclusive; by the time it was given up).
-- Columns: tenant, job_type, reason, error_type, letters (records on jobs.dead), first_at, last_at (UTC), example_job,
--   example_message (both of the newest). Most first.
-- Example: SELECT tenant, job_type, reason, letters FROM given_up(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')
--   LIMIT 3
CREATE OR REPLACE VIEW given_up AS
SELECT
    tenant, job_type, reason, error_type,
    count() AS letters,
    min(occurred_at) AS first_at,
    max(occurred_at) AS last_at,
    argMax(job_id, occurred_at) AS example_job,
    argMax(error_message, occurred_at) AS example_message
FROM dead_letters
WHERE occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {to:DateTime64(6, 'UTC')}
GROUP BY tenant, job_type, reason, error_type
ORDER BY letters DESC, tenant, job_type, reason;
