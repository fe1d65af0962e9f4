-- When did first attempts that ended in a window become due, in which lane, and how long did they run?
--
-- Like a wait, the time counts from when the attempt was due, which for a delayed job is long after its submission. Jobs
-- that never started used no slot and are left out. `recorded` is the number of jobs without the limit.
WITH ended AS
(
    SELECT
        toUnixTimestamp64Micro(assumeNotNull(started_at)) / 1000000 - assumeNotNull(wait_ms) / 1000 AS due_s,
        toString(lane) AS lane_name,
        if(isFinite(run_ms), assumeNotNull(run_ms) / 1000, 0) AS run_s
    FROM job_attempts
    WHERE attempt = 1 AND started_at IS NOT NULL AND isFinite(wait_ms)
      AND finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
)
SELECT due_s, lane_name, run_s, (SELECT count() FROM ended) AS recorded
FROM ended
ORDER BY due_s
LIMIT {most:UInt32}
