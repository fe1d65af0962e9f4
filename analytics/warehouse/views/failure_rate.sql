-- Which share of attempts fails, over time?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive); step_seconds (width of a step, 60 or more); by ('' for
--   one row a step, or 'lane', 'tenant', 'job_type').
-- Columns: step (UTC, start of the step), dimension (value of `by`), attempts (with an outcome), failed, timed_out,
--   cancelled (attempts), failure_rate (failed and timed out, 0 to 1).
-- Example: SELECT * FROM failure_rate(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00', step_seconds=300, by='')
CREATE OR REPLACE VIEW failure_rate AS
SELECT
    toDateTime(intDiv(toUnixTimestamp(minute), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
    sum(events) AS attempts,
    sumIf(events, kind = 'failed') AS failed,
    sumIf(events, kind = 'timed_out') AS timed_out,
    sumIf(events, kind = 'cancelled') AS cancelled,
    (failed + timed_out) / attempts AS failure_rate
FROM throughput_1m
WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
  AND kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')
GROUP BY step, dimension
ORDER BY step, dimension;
