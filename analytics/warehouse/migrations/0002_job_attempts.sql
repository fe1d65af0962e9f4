-- job_attempts: one row for each finished attempt. Its outcome event holds every dimension and measure, so the row needs
-- no join. An attempt that was lost with its worker has no outcome and no row here.
CREATE TABLE IF NOT EXISTS job_attempts
(
    job_id             UUID                              CODEC(ZSTD(1)),
    attempt            UInt32                            CODEC(T64, ZSTD(1)),
    execution_id       Nullable(UUID)                    CODEC(ZSTD(1)),
    tenant             LowCardinality(String),
    job_type           LowCardinality(String),
    lane               LowCardinality(String),
    ordering_key       String                            CODEC(ZSTD(1)),
    source             LowCardinality(String),
    labels             Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    outcome            LowCardinality(String)                          COMMENT 'succeeded, failed, timed_out, cancelled',
    final              Bool                                            COMMENT 'The job does not run again',
    submitted_at       DateTime64(6, 'UTC')              CODEC(Delta, ZSTD(1)),
    started_at         Nullable(DateTime64(6, 'UTC'))    CODEC(Delta, ZSTD(1)),
    finished_at        DateTime64(6, 'UTC')              CODEC(DoubleDelta, ZSTD(1)),
    wait_ms            Nullable(Float64)                 CODEC(ZSTD(1)),
    run_ms             Nullable(Float64)                 CODEC(ZSTD(1)),
    total_ms           Float64                           CODEC(ZSTD(1)) COMMENT 'From submission to this outcome',
    cpu_ms             Nullable(Float64)                 CODEC(ZSTD(1)),
    max_rss_bytes      Nullable(Int64)                   CODEC(ZSTD(1)),
    worker_id          LowCardinality(String),
    host               LowCardinality(String),
    region             LowCardinality(String),
    instance_type      LowCardinality(String),
    worker_version     LowCardinality(String),
    error_type         LowCardinality(String),
    error_message      String                            CODEC(ZSTD(1)),
    error_fingerprint  String                            CODEC(ZSTD(1)),
    kafka_partition    Int32                             CODEC(T64, ZSTD(1)),
    kafka_offset       Int64                             CODEC(Delta, ZSTD(1)),

    INDEX by_job job_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(finished_at)
ORDER BY (tenant, job_type, finished_at)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS job_attempts_from_events TO job_attempts AS
SELECT
    job_id, attempt, execution_id, tenant, job_type, lane, ordering_key, source, labels, kind AS outcome, final,
    submitted_at, started_at, occurred_at AS finished_at, wait_ms, run_ms,
    (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(submitted_at)) / 1000 AS total_ms,
    cpu_ms, max_rss_bytes, worker_id, host, region, instance_type, worker_version,
    error_type, error_message, error_fingerprint, kafka_partition, kafka_offset
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled');
