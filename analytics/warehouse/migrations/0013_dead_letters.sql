-- dead_letters: records that were given up, with the complete cause, from the topic jobs.dead.
CREATE TABLE IF NOT EXISTS dead_letters
(
    job_id             String                          CODEC(ZSTD(1)) COMMENT 'Empty when the record could not be read',
    tenant             LowCardinality(String),
    job_type           LowCardinality(String),
    attempt            Int32                           CODEC(T64, ZSTD(1)),
    occurred_at        DateTime64(6, 'UTC')            CODEC(DoubleDelta, ZSTD(1)),
    reason             LowCardinality(String)          COMMENT 'failed, unreadable, unknown_type, invalid_payload, timed_out, too_large, sink_unreadable, other',
    error_type         LowCardinality(String),
    error_message      String                          CODEC(ZSTD(1)),
    error_fingerprint  String                          CODEC(ZSTD(1)),
    stack              String                          CODEC(ZSTD(3)),
    worker_id          LowCardinality(String)          COMMENT 'Who gave it up',
    topic              LowCardinality(String)          COMMENT 'Where the record was',
    partition          Int32                           CODEC(T64, ZSTD(1)),
    offset             Int64                           CODEC(Delta, ZSTD(1)),
    record_key         Nullable(String)                CODEC(ZSTD(3)),
    record_value       Nullable(String)                CODEC(ZSTD(3)) COMMENT 'The bytes as they were',
    kafka_partition    Int32                           CODEC(T64, ZSTD(1)),
    kafka_offset       Int64                           CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (tenant, job_type, occurred_at)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS dead_letters_landing
(
    job_id String, tenant String, job_type String, attempt Int32, occurred_at DateTime64(6, 'UTC'), reason String,
    error_type String, error_message String, error_fingerprint String, stack String, worker_id String, topic String,
    partition Int32, offset Int64, record_key Nullable(String), record_value Nullable(String), kafka_partition Int32,
    kafka_offset Int64 DEFAULT read_offset
        + throwIf(record_end != 'MILLSTRM', 'the body of a record is longer or shorter than its schema says'),
    read_offset Int64 EPHEMERAL,
    record_end FixedString(8) EPHEMERAL
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS dead_letters_check AS dead_letters_landing ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS dead_letters_from_landing TO dead_letters AS
SELECT * FROM dead_letters_landing;
