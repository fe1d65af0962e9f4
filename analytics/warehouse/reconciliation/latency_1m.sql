-- latency_1m: how many attempts ended in each minute, and how long did each of their stages take?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period, stage, lane, tenant, job_type, sum(attempts), round(sum(sum_ms), 3), max(max_ms),
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)
FROM latency_1m
GROUP BY minute, stage, lane, tenant, job_type;

SELECT
    toStartOfMinute(occurred_at) AS period,
    measured.1, lane, tenant, job_type, count(), round(sum(assumeNotNull(measured.2)), 3),
    max(assumeNotNull(measured.2)), quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(measured.2))
FROM job_events
ARRAY JOIN [
    ('queue_wait', wait_ms), ('run', run_ms),
    ('total', if(final, (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(submitted_at)) / 1000, NULL))
] AS measured
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AND isFinite(measured.2)
GROUP BY toStartOfMinute(occurred_at), measured.1, lane, tenant, job_type;
