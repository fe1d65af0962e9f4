-- alerts: what engineers were told, from the topic jobs.alerts. A row is one telling: an alert is told when it opens and
-- again when it is resolved, under the same fingerprint; the view alerts_open folds them.
CREATE TABLE IF NOT EXISTS alerts
(
    fingerprint      String                          CODEC(ZSTD(1)) COMMENT 'Equal for alerts of one cause',
    kind             LowCardinality(String)          COMMENT 'lost_worker, stuck_job, late_job, error_spike, budget, other',
    severity         LowCardinality(String)          COMMENT 'info, warning, critical',
    opened_at        DateTime64(6, 'UTC')            CODEC(DoubleDelta, ZSTD(1)),
    resolved_at      Nullable(DateTime64(6, 'UTC'))  CODEC(Delta, ZSTD(1)),
    subject          String                          CODEC(ZSTD(1)) COMMENT 'The worker, job, tenant or type concerned',
    summary          String                          CODEC(ZSTD(1)),
    labels           Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    kafka_partition  Int32,
    kafka_offset     Int64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(opened_at)
ORDER BY (opened_at, fingerprint)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS alerts_landing
(
    fingerprint String, kind String, severity String, opened_at DateTime64(6, 'UTC'),
    resolved_at Nullable(DateTime64(6, 'UTC')), subject String, summary String, labels Map(String, String),
    kafka_partition Int32,
    kafka_offset Int64 DEFAULT read_offset
        + throwIf(record_end != 'MILLSTRM', 'the body of a record is longer or shorter than its schema says'),
    read_offset Int64 EPHEMERAL,
    record_end FixedString(8) EPHEMERAL
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS alerts_check AS alerts_landing ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS alerts_from_landing TO alerts AS
SELECT * FROM alerts_landing;
