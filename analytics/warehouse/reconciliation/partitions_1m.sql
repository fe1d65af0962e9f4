-- partitions_1m: how many jobs did each partition of each lane have in each minute?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period, lane, request_partition, sum(attempts), round(sum(run_ms), 3), round(sum(wait_ms), 3),
    max(max_wait_ms)
FROM partitions_1m
GROUP BY minute, lane, request_partition;

SELECT
    toStartOfMinute(occurred_at) AS period, lane, request_partition, count(),
    round(sumIf(assumeNotNull(run_ms), isFinite(run_ms)), 3),
    round(sumIf(assumeNotNull(wait_ms), isFinite(wait_ms)), 3), maxIf(assumeNotNull(wait_ms), isFinite(wait_ms))
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AND request_partition >= 0
GROUP BY 1, 2, 3;
