-- latency_1h: how many attempts ended in each hour, and how long did each of their stages take?
-- The first query reads the table, the second the raw events.
-- Sums of many durations depend on their order, so whole milliseconds are compared. Half a microsecond is added because
-- durations are often whole microseconds: their sums are then never at the edge between two milliseconds.
SELECT
    hour AS period, stage, lane, tenant, job_type, sum(attempts), round(sum(sum_ms) + 0.0005), max(max_ms),
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)
FROM latency_1h
GROUP BY hour, stage, lane, tenant, job_type;

SELECT
    toStartOfHour(occurred_at) AS period, measured.1, lane, tenant, job_type, count(),
    round(sum(assumeNotNull(measured.2)) + 0.0005), max(assumeNotNull(measured.2)),
    quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(measured.2))
FROM job_events
ARRAY JOIN [
    ('queue_wait', wait_ms), ('run', run_ms),
    ('total', if(final, (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(submitted_at)) / 1000, NULL))
] AS measured
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AND isFinite(measured.2)
GROUP BY toStartOfHour(occurred_at), measured.1, lane, tenant, job_type;
