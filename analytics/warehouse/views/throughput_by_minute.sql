-- How many events of each kind, by lane, tenant and job type, in each minute?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: minute (UTC), lane, tenant, job_type, kind, events (count).
-- One key may have several rows: sum them, as the example does.
-- Example: SELECT minute, sum(events) FROM throughput_by_minute(from='2026-11-24', to='2026-11-25')
--          WHERE kind = 'succeeded' GROUP BY minute ORDER BY minute
CREATE OR REPLACE VIEW throughput_by_minute AS
SELECT minute, lane, tenant, job_type, kind, events
FROM throughput_1m
WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')};
