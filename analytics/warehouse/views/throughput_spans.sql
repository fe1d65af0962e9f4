-- Which rollup rows cover a window with the fewest rows: whole hours, and minutes at its edges? (A part of other
-- views.)
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: at (UTC, start of the hour or minute), lane, tenant, job_type, kind, events (count).
-- Example: SELECT kind, sum(events) FROM throughput_spans(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')
--          GROUP BY kind ORDER BY kind
CREATE OR REPLACE VIEW throughput_spans AS
WITH
    toStartOfMinute({from:DateTime64(6, 'UTC')}) AS start,
    toStartOfHour(start + INTERVAL 3599 SECOND) AS first_hour,
    toStartOfHour({to:DateTime64(6, 'UTC')}) AS end_hour
SELECT hour AS at, lane, tenant, job_type, kind, events
FROM throughput_1h
WHERE hour >= first_hour AND hour < end_hour
UNION ALL
SELECT minute AS at, lane, tenant, job_type, kind, events
FROM throughput_1m
WHERE minute >= start AND minute < {to:DateTime64(6, 'UTC')}
  AND (first_hour >= end_hour OR minute < first_hour OR minute >= end_hour);
