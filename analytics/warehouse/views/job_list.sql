-- Which jobs were submitted, and in which state are they?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of submission); tenant, state ('' for all).
-- Columns: job_id, tenant, job_type, lane, state (submitted, running, retrying, or the final outcome), submitted_at,
--   started_at (first start), finished_at (UTC; NULL before the final outcome), executions (starts), attempts (with an
--   outcome), retries (scheduled), run_ms, wasted_run_ms (of attempts that did not succeed), error_type (of the final
--   outcome). Newest first, at most 1,000 rows; of a job that was submitted again in the window only its latest
--   submission.
-- Example: SELECT job_id, state, attempts, run_ms, wasted_run_ms
--          FROM job_list(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', tenant='', state='failed') LIMIT 3
CREATE OR REPLACE VIEW job_list AS
WITH folded AS
(
    SELECT
        job_id, jobs.tenant AS tenant, job_type, any(jobs.lane) AS lane, submitted_at,
        min(jobs.started_at) AS started_at,
        max(jobs.finished_at) AS finished_at,
        max(jobs.outcome) AS outcome,
        sum(jobs.executions) AS executions,
        sum(jobs.attempts) AS attempts,
        sum(jobs.retries) AS retries,
        sum(jobs.run_ms) AS run_ms,
        sum(jobs.wasted_run_ms) AS wasted_run_ms,
        max(jobs.error_type) AS error_type,
        multiIf(outcome != '', outcome, executions > attempts, 'running', attempts > 0, 'retrying', 'submitted') AS state
    FROM jobs
    WHERE submitted_at >= {from:DateTime64(6, 'UTC')} AND submitted_at < {to:DateTime64(6, 'UTC')}
      AND ({tenant:String} = '' OR jobs.tenant = {tenant:String})
    GROUP BY jobs.tenant, job_type, submitted_at, job_id
),
submitted_again AS
(
    SELECT job_id, max(jobs.submitted_at) AS latest
    FROM jobs
    WHERE submitted_at >= {from:DateTime64(6, 'UTC')} AND submitted_at < {to:DateTime64(6, 'UTC')}
      AND ({tenant:String} = '' OR jobs.tenant = {tenant:String})
    GROUP BY job_id
    HAVING min(jobs.submitted_at) < latest
)
SELECT
    job_id, tenant, job_type, lane, state, submitted_at, started_at, finished_at, executions, attempts, retries, run_ms,
    wasted_run_ms, error_type
FROM folded
LEFT ANY JOIN submitted_again USING (job_id)
WHERE submitted_at >= ifNull(latest, submitted_at) AND ({state:String} = '' OR state = {state:String})
ORDER BY submitted_at DESC, job_id
LIMIT 1000;
