-- How did failures, retries, waits, run times and busy slots develop, step by step?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome); step_seconds (width of a step, 1 or more).
-- Columns: step (its start), attempts (with an outcome), failed (failed and timed out), failure_rate (failed of
--   attempts), retries (attempts beyond a job's first), retry_share (retries of attempts), wait_p95_ms (for a worker),
--   run_p95_ms (of the handler), busy_slots (run time of all attempts by the length of the step). Steps without outcomes
--   are absent. Reads the attempts, so any step works; rca_counts and rca_durations read less over days.
-- Example: SELECT * FROM rca_timeseries(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', step_seconds=10)
CREATE OR REPLACE VIEW rca_timeseries AS
SELECT
    toDateTime(intDiv(toUnixTimestamp(finished_at), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    count() AS attempts,
    countIf(outcome IN ('failed', 'timed_out')) AS failed,
    failed / attempts AS failure_rate,
    countIf(attempt > 1) AS retries,
    retries / attempts AS retry_share,
    ifNull(quantileExact(0.95)(wait_ms), 0) AS wait_p95_ms,
    ifNull(quantileExact(0.95)(run_ms), 0) AS run_p95_ms,
    ifNull(sum(run_ms), 0) / 1000 / {step_seconds:UInt32} AS busy_slots
FROM job_attempts
WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
GROUP BY step
ORDER BY step;
