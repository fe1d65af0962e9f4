-- Bounds on the durations of events. Quantiles are kept as sketches of logarithms, and ClickHouse refuses an insert whose
-- sketch would span 1e-300 to 1e300 ms: an insert that fails in a rollup, where no single record is at fault, is repeated for
-- ever. A wait or a run time of less than a microsecond, or a negative one, is 0; one of more than three years is three
-- years; one that is no number is none.
ALTER TABLE job_events_from_landing MODIFY QUERY
SELECT * REPLACE (
    least(greatest(submitted_at, occurred_at - toIntervalYear(1)), occurred_at + toIntervalDay(1)) AS submitted_at,
    multiIf(ifNull(NOT isFinite(wait_ms), true), NULL, wait_ms < 0.001, 0, least(wait_ms, 1e11)) AS wait_ms,
    multiIf(ifNull(NOT isFinite(run_ms), true), NULL, run_ms < 0.001, 0, least(run_ms, 1e11)) AS run_ms
)
FROM job_events_landing;

-- The lasting identity: see 0031.
RENAME TABLE IF EXISTS job_events_from_landing TO job_events_from_landing_renamed;

RENAME TABLE IF EXISTS job_events_from_landing_renamed TO job_events_from_landing;
