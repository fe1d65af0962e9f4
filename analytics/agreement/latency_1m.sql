-- latency_1m: how many attempts ended in each minute, how long did the longest run, and what are the quantiles?
-- First as the table says, then as the raw events say.
SELECT
    minute, lane, tenant, job_type, sum(attempts), round(max(max_ms), 6),
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)
FROM latency_1m
WHERE stage = 'run'
GROUP BY minute, lane, tenant, job_type;

SELECT
    toStartOfMinute(occurred_at), lane, tenant, job_type, count(), round(max(assumeNotNull(run_ms)), 6),
    quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(run_ms))
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')
GROUP BY toStartOfMinute(occurred_at), lane, tenant, job_type;
