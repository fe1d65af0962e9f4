-- changes: deploys, configuration and quota changes, from the topic jobs.changes: the suspects when something breaks.
CREATE TABLE IF NOT EXISTS changes
(
    change_id        UUID,
    occurred_at      DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    kind             LowCardinality(String) COMMENT 'deploy, config, quota, infrastructure, other',
    service          LowCardinality(String),
    version          String,
    author           LowCardinality(String),
    summary          String,
    labels           Map(LowCardinality(String), String) COMMENT 'Dimensions it touches, such as region or job_type',
    kafka_partition  Int32,
    kafka_offset     Int64
)
ENGINE = MergeTree
ORDER BY (occurred_at, service)
SETTINGS non_replicated_deduplication_window = 10000;
