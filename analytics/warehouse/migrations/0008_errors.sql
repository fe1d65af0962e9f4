-- errors_1m: failed attempts by family. Errors of one cause share a fingerprint; where there is none, their type does.
CREATE TABLE IF NOT EXISTS errors_1m
(
    minute         DateTime('UTC') CODEC(Delta, ZSTD(1)),
    error_type     LowCardinality(String),
    family         LowCardinality(String) COMMENT 'Fingerprint, else the type',
    tenant         LowCardinality(String),
    job_type       LowCardinality(String),
    worker_version LowCardinality(String),
    attempts       SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    first_seen     SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_seen      SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    example        SimpleAggregateFunction(max, Tuple(at DateTime64(6, 'UTC'), job_id UUID, message String)) CODEC(ZSTD(1)) COMMENT 'The newest one'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, error_type, family, tenant, job_type, worker_version)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS errors_1m_from_attempts TO errors_1m AS
SELECT
    toStartOfMinute(finished_at) AS minute, error_type,
    if(error_fingerprint != '', error_fingerprint, toString(error_type)) AS family,
    tenant, job_type, worker_version,
    count() AS attempts,
    min(finished_at) AS first_seen,
    max(finished_at) AS last_seen,
    max((finished_at, job_id, error_message)) AS example
FROM job_attempts
WHERE outcome IN ('failed', 'timed_out')
GROUP BY minute, error_type, family, tenant, job_type, worker_version;
