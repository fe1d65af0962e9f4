-- How many jobs were submitted, started, retried, finished and failed in each step, in all and by lane, tenant and type?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive); step_seconds (width of a step, whole minutes).
-- Columns: step (its start), dimension ('' for all jobs, 'lane', 'tenant', 'job_type'), value (of the dimension),
--   submitted (jobs), started (attempts), retries (scheduled), finished (outcomes of attempts), failed (failed and
--   timed out). Steps without events are absent.
-- Example: SELECT * FROM rca_counts(from='2026-11-24', to='2026-11-25', step_seconds=300) WHERE dimension = ''
CREATE OR REPLACE VIEW rca_counts AS
SELECT
    toDateTime(intDiv(toUnixTimestamp(minute), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    scope.1 AS dimension,
    scope.2 AS value,
    sumIf(events, kind = 'submitted') AS submitted,
    sumIf(events, kind = 'started') AS started,
    sumIf(events, kind = 'retry_scheduled') AS retries,
    sumIf(events, kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')) AS finished,
    sumIf(events, kind IN ('failed', 'timed_out')) AS failed
FROM throughput_1m
ARRAY JOIN [('', ''), ('lane', lane), ('tenant', tenant), ('job_type', job_type)] AS scope
WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
GROUP BY step, dimension, value
ORDER BY dimension, value, step;
