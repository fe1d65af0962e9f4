-- When did a job type have a storm of retries?
--
-- A storm is a minute with at least five retries and three times as many as in the type's median minute of the window.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: job_type, minute (UTC), retries (scheduled in that minute), attempts (with an outcome), retry_share (retries
--   for each attempt, 0 to 1), usual_retries (median over the minutes with work), times_usual (ratio). Worst first, at
--   most 200 rows.
-- Example: SELECT * FROM retry_storms(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') LIMIT 5
CREATE OR REPLACE VIEW retry_storms AS
WITH by_minute AS
(
    SELECT
        job_type, minute,
        sumIf(events, kind = 'retry_scheduled') AS retries,
        sumIf(events, kind != 'retry_scheduled') AS attempts
    FROM throughput_1m
    WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
      AND kind IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'retry_scheduled')
    GROUP BY job_type, minute
)
SELECT
    job_type, minute, retries, attempts,
    if(attempts > 0, retries / attempts, 0) AS retry_share,
    usual_retries,
    retries / greatest(usual_retries, 1) AS times_usual
FROM (SELECT *, quantileExact(0.5)(retries) OVER (PARTITION BY job_type) AS usual_retries FROM by_minute)
WHERE retries >= 5 AND retries >= 3 * usual_retries
ORDER BY times_usual DESC, job_type, minute
LIMIT 200;
