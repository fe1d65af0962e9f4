-- How do waits and run times change over time?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished); stage
--   ('queue_wait', 'run' or 'total'); lane ('' for all); step_seconds (width of a step, 60 or more).
-- Columns: step (UTC, start of the step), attempts (count), mean_ms, p50_ms, p95_ms, p99_ms (within 1 %), max_ms.
-- Example: SELECT * FROM latency_over_time(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00', stage='run', lane='',
--          step_seconds=300)
CREATE OR REPLACE VIEW latency_over_time AS
WITH merged AS
(
    SELECT
        toDateTime(intDiv(toUnixTimestamp(minute), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
        sum(lane_latency_1m.attempts) AS attempts,
        sum(sum_ms) / attempts AS mean_ms,
        quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(quantiles) AS levels,
        max(lane_latency_1m.max_ms) AS max_ms
    FROM lane_latency_1m
    WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
      AND lane_latency_1m.stage = {stage:String}
      AND ({lane:String} = '' OR lane_latency_1m.lane = {lane:String})
    GROUP BY step
)
SELECT step, attempts, mean_ms, levels[1] AS p50_ms, levels[2] AS p95_ms, levels[3] AS p99_ms, max_ms
FROM merged
ORDER BY step;
