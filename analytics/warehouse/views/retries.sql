-- Which jobs are retried, how often, and how many of them are given up?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: tenant, job_type, attempts (with an outcome), retries (scheduled), dead_lettered (jobs given up),
--   retry_share (retries for each attempt, 0 to 1), given_up_share (jobs given up for each retry). Only tenants and
--   types with a retry or a job given up, most retries first.
-- Example: SELECT * FROM retries(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00') LIMIT 5
CREATE OR REPLACE VIEW retries AS
SELECT
    tenant, job_type,
    sumIf(events, kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')) AS attempts,
    sumIf(events, kind = 'retry_scheduled') AS retries,
    sumIf(events, kind = 'dead_lettered') AS dead_lettered,
    if(attempts > 0, retries / attempts, 0) AS retry_share,
    if(retries > 0, dead_lettered / retries, 0) AS given_up_share
FROM throughput_spans(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')})
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'retry_scheduled', 'dead_lettered')
GROUP BY tenant, job_type
HAVING retries + dead_lettered > 0
ORDER BY retries DESC, tenant, job_type;
