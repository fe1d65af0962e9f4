-- lane_latency_1m: how many attempts of each lane ended in each minute, and how long did their stages take?
-- The first query reads the table, the second the raw events.
-- Sums of many durations depend on their order, so whole milliseconds are compared. Half a microsecond is added because
-- durations are often whole microseconds: their sums are then never at the edge between two milliseconds.
SELECT
    minute AS period, stage, lane, sum(attempts), round(sum(sum_ms) + 0.0005), max(max_ms),
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)
FROM lane_latency_1m
GROUP BY minute, stage, lane;

SELECT
    toStartOfMinute(occurred_at) AS period, measured.1, lane, count(), round(sum(assumeNotNull(measured.2)) + 0.0005),
    max(assumeNotNull(measured.2)),
    quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(measured.2))
FROM job_events
ARRAY JOIN [
    ('queue_wait', wait_ms), ('run', run_ms),
    ('total', if(final, (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(submitted_at)) / 1000, NULL))
] AS measured
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AND isFinite(measured.2)
GROUP BY toStartOfMinute(occurred_at), measured.1, lane;
