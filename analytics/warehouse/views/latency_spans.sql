-- Which latency rows cover a window with the fewest rows: whole hours, and minutes at its edges? (A part of other
-- views.)
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: at (UTC, start of the hour or minute), stage (queue_wait, run, total), lane, tenant, job_type, attempts
--   (count), sum_ms, max_ms, quantiles (state of quantilesDD: merge it with quantilesDDMerge(0.01, levels...)).
-- Example: SELECT stage, quantilesDDMerge(0.01, 0.5, 0.999)(quantiles) AS p50_p999_ms
--          FROM latency_spans(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') GROUP BY stage ORDER BY stage
CREATE OR REPLACE VIEW latency_spans AS
WITH
    toStartOfMinute({from:DateTime64(6, 'UTC')}) AS start,
    toStartOfHour(start + INTERVAL 3599 SECOND) AS first_hour,
    toStartOfHour({to:DateTime64(6, 'UTC')}) AS end_hour
SELECT hour AS at, stage, lane, tenant, job_type, attempts, sum_ms, max_ms, quantiles
FROM latency_1h
WHERE hour >= first_hour AND hour < end_hour
UNION ALL
SELECT minute AS at, stage, lane, tenant, job_type, attempts, sum_ms, max_ms, quantiles
FROM latency_1m
WHERE minute >= start AND minute < {to:DateTime64(6, 'UTC')}
  AND (first_hour >= end_hour OR minute < first_hour OR minute >= end_hour);
