-- How long did attempts wait and run in each step, in all and by lane, tenant and type?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive); step_seconds (width of a step, whole minutes);
--   stage ('queue_wait', 'run', 'total').
-- Columns: step (its start), dimension ('' for all jobs, 'lane', 'tenant', 'job_type'), value (of the dimension),
--   attempts (that were measured), p95_ms (of the stage, within 1 %).
-- Example: SELECT * FROM rca_durations(from='2026-11-24', to='2026-11-25', step_seconds=300, stage='queue_wait')
CREATE OR REPLACE VIEW rca_durations AS
SELECT
    toDateTime(intDiv(toUnixTimestamp(minute), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    scope.1 AS dimension,
    scope.2 AS value,
    sum(latency_1m.attempts) AS attempts,
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)[3] AS p95_ms
FROM latency_1m
ARRAY JOIN [('', ''), ('lane', lane), ('tenant', tenant), ('job_type', job_type)] AS scope
WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
  AND stage = {stage:String}
GROUP BY step, dimension, value
ORDER BY dimension, value, step;
