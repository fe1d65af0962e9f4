-- job_attempts: what became of each attempt?
-- First as the table says, then as the raw events say.
SELECT
    job_id, attempt, outcome, finished_at, wait_ms, run_ms, error_type
FROM job_attempts;

SELECT
    job_id, attempt, kind, occurred_at, wait_ms, run_ms, error_type
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled');
