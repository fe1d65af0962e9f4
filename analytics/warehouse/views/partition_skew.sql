-- Which partition of a lane has more than its share of jobs, and do they wait longer?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: lane, request_partition (of the lane's topic), attempts (count), share (of the lane's attempts, 0 to 1),
--   times_fair (share for each equal share; 1 is even), run_share (of the lane's run time, 0 to 1; 0 when it has
--   none), mean_wait_ms, max_wait_ms, partitions (of the lane that had work). Most uneven first.
-- Example: SELECT * FROM partition_skew(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00') LIMIT 4
CREATE OR REPLACE VIEW partition_skew AS
WITH by_partition AS
(
    SELECT
        lane, request_partition,
        sum(partitions_1m.attempts) AS attempts,
        sum(partitions_1m.run_ms) AS run_ms,
        sum(partitions_1m.wait_ms) / attempts AS mean_wait_ms,
        max(partitions_1m.max_wait_ms) AS max_wait_ms
    FROM partitions_1m
    WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
    GROUP BY lane, request_partition
)
SELECT
    lane, request_partition, attempts,
    attempts / sum(attempts) OVER (PARTITION BY lane) AS share,
    share * partitions AS times_fair,
    if(sum(run_ms) OVER (PARTITION BY lane) > 0, run_ms / sum(run_ms) OVER (PARTITION BY lane), 0) AS run_share,
    mean_wait_ms, max_wait_ms,
    count() OVER (PARTITION BY lane) AS partitions
FROM by_partition
ORDER BY times_fair DESC, lane, request_partition;
