-- How many jobs were submitted, started and finished, over time?
--
-- Parameters: from, to (UTC, to is exclusive); step_seconds (width of a step, 1 or more).
-- Columns: step (start of the step), submitted, started, succeeded, failed, timed_out, cancelled (events in the step),
--   finished (outcomes of attempts), finished_per_s (1/s).
-- Reads the raw events, so any step works; throughput_by_minute reads less over days.
-- Example: SELECT * FROM throughput(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', step_seconds=60)
CREATE OR REPLACE VIEW throughput AS
SELECT
    toDateTime(intDiv(toUnixTimestamp(occurred_at), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    countIf(kind = 'submitted') AS submitted,
    countIf(kind = 'started') AS started,
    countIf(kind = 'succeeded') AS succeeded,
    countIf(kind = 'failed') AS failed,
    countIf(kind = 'timed_out') AS timed_out,
    countIf(kind = 'cancelled') AS cancelled,
    succeeded + failed + timed_out + cancelled AS finished,
    finished / {step_seconds:UInt32} AS finished_per_s
FROM job_events
WHERE occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {to:DateTime64(6, 'UTC')}
GROUP BY step
ORDER BY step;
