-- How many attempts ran at once, and for which share of the time at the peak: has a tenant, type or worker a limit?
--
-- Parameters: from, to (UTC, to is exclusive); by ('' for all, 'lane', 'tenant', 'job_type', 'worker').
-- Columns: value (of `by`), mean (attempts that ran at once, on average), peak (most at once), at_peak (share of the
--   window in which at least nine tenths of the peak ran, 0 to 1). Attempts without an outcome yet are not counted.
-- Example: SELECT * FROM rca_busy(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', by='worker')
CREATE OR REPLACE VIEW rca_busy AS
WITH
    {from:DateTime64(6, 'UTC')} AS window_start,
    {to:DateTime64(6, 'UTC')} AS window_end,
    steps AS
    (
        SELECT value, at, sum(delta) AS delta
        FROM
        (
            SELECT
                multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                        {by:String} = 'job_type', toString(job_type), {by:String} = 'worker', toString(worker_id),
                        '') AS value,
                greatest(assumeNotNull(started_at), window_start) AS begun,
                least(finished_at, window_end) AS ended
            FROM job_attempts
            WHERE finished_at > window_start AND started_at < window_end
        )
        ARRAY JOIN [begun, ended] AS at, [1, -1] AS delta
        GROUP BY value, at
    ),
    levels AS
    (
        SELECT
            value, at,
            sum(delta) OVER (PARTITION BY value ORDER BY at) AS busy,
            leadInFrame(at, 1, window_end)
                OVER (PARTITION BY value ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS until
        FROM steps
    ),
    spans AS
    (
        SELECT value, busy, dateDiff('microsecond', at, until) AS micros, max(busy) OVER (PARTITION BY value) AS most
        FROM levels
    )
SELECT
    value,
    sum(busy * micros) / greatest(1, dateDiff('microsecond', window_start, window_end)) AS mean,
    max(most) AS peak,
    sumIf(micros, busy >= 0.9 * most) / greatest(1, dateDiff('microsecond', window_start, window_end)) AS at_peak
FROM spans
GROUP BY value
ORDER BY mean DESC, value;
