-- partitions_1m: what each partition of a lane's topic had to do. One that is hotter than its neighbours delays all that
-- is behind it. Attempts whose request's partition is not known (-1) are left out.
CREATE TABLE IF NOT EXISTS partitions_1m
(
    minute             DateTime('UTC') CODEC(Delta, ZSTD(1)),
    lane               LowCardinality(String),
    request_partition  Int32 CODEC(T64, ZSTD(1)),
    attempts           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    run_ms             SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    wait_ms            SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    max_wait_ms        SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, lane, request_partition)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS partitions_1m_from_events TO partitions_1m AS
SELECT
    toStartOfMinute(occurred_at) AS minute, lane, request_partition,
    count() AS attempts,
    sumIf(assumeNotNull(job_events.run_ms), isFinite(job_events.run_ms)) AS run_ms,
    sumIf(assumeNotNull(job_events.wait_ms), isFinite(job_events.wait_ms)) AS wait_ms,
    maxIf(assumeNotNull(job_events.wait_ms), isFinite(job_events.wait_ms)) AS max_wait_ms
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AND request_partition >= 0
GROUP BY minute, lane, request_partition;
