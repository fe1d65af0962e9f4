-- backlog_1m: what became of the jobs that were submitted in a minute. Every event says when its job was submitted, so
-- jobs that still wait, and for how long, are read from a small table: no job is looked up.
--
-- The minute is that of the submission, whatever the event. started counts first attempts only; one that was lost with
-- its worker and started again counts twice.
CREATE TABLE IF NOT EXISTS backlog_1m
(
    minute     DateTime('UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Of the submission',
    lane       LowCardinality(String),
    tenant     LowCardinality(String),
    job_type   LowCardinality(String),
    submitted  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    started    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    finished   SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) COMMENT 'Final outcomes'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, lane, tenant, job_type)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS backlog_1m_from_events TO backlog_1m AS
SELECT
    toStartOfMinute(submitted_at) AS minute, lane, tenant, job_type,
    countIf(kind = 'submitted') AS submitted,
    countIf(kind = 'started' AND attempt <= 1) AS started,
    countIf(final AND kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')) AS finished
FROM job_events
WHERE kind IN ('submitted', 'started') OR final
GROUP BY minute, lane, tenant, job_type;
