-- Does the work keep up with what arrives?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive); by ('' for one row a minute, or 'lane', 'tenant',
--   'job_type').
-- Columns: minute (UTC), dimension (value of `by`), submitted (jobs), started (starts of attempts), finished (jobs with
--   their final outcome), net (submitted less finished), backlog_change (sum of net since `from`).
-- Example: SELECT * FROM arrivals_and_completions(from='2026-11-24 10:00:00', to='2026-11-24 10:05:00', by='lane')
CREATE OR REPLACE VIEW arrivals_and_completions AS
WITH
    counted AS
    (
        SELECT
            minute,
            multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
            sumIf(events, kind = 'submitted') AS submitted,
            sumIf(events, kind = 'started') AS started,
            0 AS finished
        FROM throughput_1m
        WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
          AND kind IN ('submitted', 'started')
        GROUP BY minute, dimension
        UNION ALL
        SELECT
            minute,
            multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
            0 AS submitted,
            0 AS started,
            sum(attempts) AS finished
        FROM latency_1m
        WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
          AND stage = 'total'
        GROUP BY minute, dimension
    ),
    by_minute AS
    (
        SELECT
            minute, dimension,
            sum(counted.submitted) AS submitted,
            sum(counted.started) AS started,
            sum(counted.finished) AS finished
        FROM counted
        GROUP BY minute, dimension
    )
SELECT
    minute, dimension, submitted, started, finished,
    toInt64(submitted) - toInt64(finished) AS net,
    sum(toInt64(submitted) - toInt64(finished)) OVER (PARTITION BY dimension ORDER BY minute) AS backlog_change
FROM by_minute
ORDER BY minute, dimension;
