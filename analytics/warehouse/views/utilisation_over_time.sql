-- How busy are all workers together, over time?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive); step_seconds (width of a step, 60 or more).
-- Columns: step (UTC, start of the step), workers (that were alive), capacity (slots, mean), busy (slots in use, mean),
--   utilisation (busy for each slot, 0 to 1), queued (jobs waiting inside workers, mean), cpu_cores (cores used, mean).
--   Means are over the part of the step that lies in the window, up to now.
-- Example: SELECT * FROM utilisation_over_time(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00', step_seconds=300)
CREATE OR REPLACE VIEW utilisation_over_time AS
WITH
    toStartOfMinute({from:DateTime64(6, 'UTC')}) AS start,
    toStartOfMinute({to:DateTime64(6, 'UTC')} - INTERVAL 1 MICROSECOND) + INTERVAL 1 MINUTE AS end,
    greatest(step, start) AS begun,
    least(step + toIntervalSecond({step_seconds:UInt32}), end) AS ended,
    dateDiff('second', begun, if(now('UTC') > begun AND now('UTC') < ended, now('UTC'), ended)) AS seconds
SELECT
    toDateTime(intDiv(toUnixTimestamp(minute), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    uniqExact(worker_id) AS workers,
    sum(capacity_s) / seconds AS capacity,
    sum(busy_s) / seconds AS busy,
    if(capacity > 0, busy / capacity, 0) AS utilisation,
    sum(queued_s) / seconds AS queued,
    sum(cpu_s) / seconds AS cpu_cores
FROM worker_usage
WHERE minute >= start AND minute < {to:DateTime64(6, 'UTC')}
GROUP BY step
ORDER BY step;
