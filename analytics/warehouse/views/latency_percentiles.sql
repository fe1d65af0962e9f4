-- How long do attempts wait and run, and how long does a job take from submission to its final outcome?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished);
--   by ('' for one row a stage, or 'lane', 'tenant', 'job_type'; any other dimension: latency_by_dimension).
-- Columns: stage (queue_wait: due to start; run: start to outcome; total: submission to the job's final outcome),
--   dimension (value of `by`), attempts (count), mean_ms, p50_ms, p90_ms, p95_ms, p99_ms (within 1 %), max_ms.
-- Example: SELECT * FROM latency_percentiles(from='2026-11-24', to='2026-11-25', by='lane') WHERE stage = 'queue_wait'
CREATE OR REPLACE VIEW latency_percentiles AS
WITH merged AS
(
    SELECT
        stage,
        multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
        sum(spans.attempts) AS attempts,
        sum(sum_ms) / attempts AS mean_ms,
        quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles) AS levels,
        max(spans.max_ms) AS max_ms
    FROM latency_spans(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS spans
    GROUP BY stage, dimension
)
SELECT
    stage, dimension, attempts, mean_ms,
    levels[1] AS p50_ms, levels[2] AS p90_ms, levels[3] AS p95_ms, levels[4] AS p99_ms, max_ms
FROM merged
ORDER BY stage, dimension;
