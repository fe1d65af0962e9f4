-- jobs: one row for each job: when it came, how often it ran, what became of it.
--
-- Every event carries what is constant for its job, so all rows of a job share the sorting key and one partition, and
-- ClickHouse folds them into one. Until it has, a job may have several rows: readers group by job_id, as the view
-- job_list does. Events may arrive late or in any order: sums, minima and maxima do not mind.
CREATE TABLE IF NOT EXISTS jobs
(
    job_id             UUID                              CODEC(ZSTD(1)),
    tenant             LowCardinality(String),
    job_type           LowCardinality(String),
    lane               SimpleAggregateFunction(any, LowCardinality(String)),
    ordering_key       SimpleAggregateFunction(any, String) CODEC(ZSTD(1)),
    source             SimpleAggregateFunction(any, LowCardinality(String)),
    labels             SimpleAggregateFunction(any, Map(String, String)) CODEC(ZSTD(1)),
    submitted_at       DateTime64(6, 'UTC')              CODEC(Delta, ZSTD(1)),
    updated_at         SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD(1)) COMMENT 'Newest event',
    started_at         SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))) CODEC(Delta, ZSTD(1)) COMMENT 'First start',
    finished_at        SimpleAggregateFunction(max, Nullable(DateTime64(6, 'UTC'))) CODEC(DoubleDelta, ZSTD(1)) COMMENT 'Final outcome; NULL while the job may still run',
    outcome            SimpleAggregateFunction(max, LowCardinality(String)) COMMENT 'Final outcome; empty while the job may still run',
    executions         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) COMMENT 'Starts; more than attempts when executions were lost',
    attempts           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) COMMENT 'Attempts with an outcome',
    retries            SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) COMMENT 'Retries scheduled',
    dead_letters       SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) COMMENT '1 when the job was given up',
    wait_ms            SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Waits of all attempts',
    run_ms             SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Run time of all attempts',
    wasted_run_ms      SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Run time of attempts that did not succeed',
    cpu_ms             SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    max_rss_bytes      SimpleAggregateFunction(max, Int64) CODEC(ZSTD(1)),
    error_type         SimpleAggregateFunction(max, LowCardinality(String)) COMMENT 'Error of the final outcome',
    error_message      SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    error_fingerprint  SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),

    INDEX by_job job_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(submitted_at)
ORDER BY (tenant, job_type, submitted_at, job_id)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS jobs_from_events TO jobs AS
WITH
    kind IN ('succeeded', 'failed', 'timed_out', 'cancelled') AS is_outcome,
    is_outcome AND isFinite(job_events.run_ms) AS ran
SELECT
    job_id, tenant, job_type, any(job_events.lane) AS lane, any(job_events.ordering_key) AS ordering_key,
    any(job_events.source) AS source, any(job_events.labels) AS labels, submitted_at,
    max(occurred_at) AS updated_at,
    min(job_events.started_at) AS started_at,
    max(if(final, occurred_at, NULL)) AS finished_at,
    max(if(final, kind, '')) AS outcome,
    countIf(kind = 'started') AS executions,
    countIf(is_outcome) AS attempts,
    countIf(kind = 'retry_scheduled') AS retries,
    countIf(kind = 'dead_lettered') AS dead_letters,
    sumIf(assumeNotNull(job_events.wait_ms), is_outcome AND isFinite(job_events.wait_ms)) AS wait_ms,
    sumIf(assumeNotNull(job_events.run_ms), ran) AS run_ms,
    sumIf(assumeNotNull(job_events.run_ms), ran AND kind != 'succeeded') AS wasted_run_ms,
    sumIf(assumeNotNull(job_events.cpu_ms), is_outcome AND isFinite(job_events.cpu_ms)) AS cpu_ms,
    max(ifNull(job_events.max_rss_bytes, 0)) AS max_rss_bytes,
    max(if(final, job_events.error_type, '')) AS error_type,
    max(if(final, job_events.error_message, '')) AS error_message,
    max(if(final, job_events.error_fingerprint, '')) AS error_fingerprint
FROM job_events
WHERE kind != 'progress'
GROUP BY tenant, job_type, submitted_at, job_id;
