-- job_events: every event of every job, as it was on the topic jobs.events; the source of all later tables.
--
-- Rules for every file in this folder: an applied file is never edited (its checksum is recorded); a change is the next
-- file; every statement may run twice (IF NOT EXISTS, a deduplication token), so two `migrate` at once do no harm.
--
-- non_replicated_deduplication_window: how many inserted blocks a table remembers by token, so that a repeated insert
-- is dropped. A repeat comes after a crash or a rebalance, at most a minute later; 10,000 blocks are minutes of inserts
-- from hundreds of partitions. The tables that materialised views fill need it as much as this one.
--
-- kind is not an Enum: ClickHouse refuses a whole Avro file whose enum has a symbol that the column lacks, so a new kind
-- of event would stop the sink. NULL means "not known" or "does not apply".
CREATE TABLE IF NOT EXISTS job_events
(
    job_id             UUID                              CODEC(ZSTD(1)) COMMENT 'Job; a UUIDv7 by default, so ordered by time',
    tenant             LowCardinality(String)                          COMMENT 'Who the work is done for',
    job_type           LowCardinality(String)                          COMMENT 'Name of the handler',
    lane               LowCardinality(String)                          COMMENT 'Lane it was submitted to',
    ordering_key       String                            CODEC(ZSTD(1)) COMMENT 'Jobs with equal keys run one after the other',
    source             LowCardinality(String)                          COMMENT 'Producing service',
    submitted_at       DateTime64(6, 'UTC')              CODEC(Delta, ZSTD(1)) COMMENT 'When the producer accepted the job',
    traceparent        String                            CODEC(ZSTD(1)) COMMENT 'W3C trace context',
    labels             Map(LowCardinality(String), String) CODEC(ZSTD(1)) COMMENT 'Free dimensions',
    attempt            UInt32                            CODEC(T64, ZSTD(1)) COMMENT 'Which attempt, from 1; 0 before the first',
    execution_id       Nullable(UUID)                    CODEC(ZSTD(1)) COMMENT 'New at each start',
    worker_id          LowCardinality(String)                          COMMENT 'Worker process',
    host               LowCardinality(String)                          COMMENT 'Host of the worker',
    region             LowCardinality(String)                          COMMENT 'Region of the host',
    instance_type      LowCardinality(String)                          COMMENT 'Machine type, as in price_book',
    worker_version     LowCardinality(String)                          COMMENT 'Release of the worker code',
    request_partition  Int32                             CODEC(T64, ZSTD(1)) COMMENT 'Partition of the request; -1 unknown',
    request_offset     Int64                             CODEC(Delta, ZSTD(1)) COMMENT 'Offset of the request; -1 unknown',
    started_at         Nullable(DateTime64(6, 'UTC'))    CODEC(Delta, ZSTD(1)) COMMENT 'When the handler began',
    wait_ms            Nullable(Float64)                 CODEC(ZSTD(1)) COMMENT 'From submission, or from being due, to the start',
    event_id           UUID                              CODEC(ZSTD(1)) COMMENT 'Unique for each event',
    kind               LowCardinality(String)                          COMMENT 'submitted, scheduled, started, progress, succeeded, failed, timed_out, cancelled, retry_scheduled, dead_lettered, lost, other',
    occurred_at        DateTime64(6, 'UTC')              CODEC(DoubleDelta, ZSTD(1)) COMMENT 'When it happened',
    final              Bool                                            COMMENT 'True on the outcome after which the job does not run again',
    run_ms             Nullable(Float64)                 CODEC(ZSTD(1)) COMMENT 'Run time of the attempt',
    cpu_ms             Nullable(Float64)                 CODEC(ZSTD(1)) COMMENT 'CPU time of the attempt',
    max_rss_bytes      Nullable(Int64)                   CODEC(ZSTD(1)) COMMENT 'Peak resident memory during the attempt',
    progress           Nullable(Float64)                 CODEC(ZSTD(1)) COMMENT 'Fraction done, 0 to 1',
    message            String                            CODEC(ZSTD(1)) COMMENT 'A line for people',
    error_type         LowCardinality(String)                          COMMENT 'Class of the error',
    error_message      String                            CODEC(ZSTD(1)) COMMENT 'Its message',
    error_fingerprint  String                            CODEC(ZSTD(1)) COMMENT 'Equal for errors of one cause',
    stack              String                            CODEC(ZSTD(3)) COMMENT 'Traceback',
    due_at             Nullable(DateTime64(6, 'UTC'))    CODEC(Delta, ZSTD(1)) COMMENT 'When a scheduled or retried job is due',
    kafka_partition    Int32                             CODEC(T64, ZSTD(1)) COMMENT 'Where the event was read',
    kafka_offset       Int64                             CODEC(Delta, ZSTD(1)) COMMENT 'Where the event was read; (kafka_partition, kafka_offset) is unique',

    INDEX by_job job_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(occurred_at)
ORDER BY (tenant, job_type, occurred_at)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Where the sink inserts. It keeps nothing: its rows go on to job_events. Its strings are plain, because ClickHouse reads
-- Avro into LowCardinality columns value by value, which takes twice as long as all the rest of reading; the view below
-- converts whole columns. Deduplication works through it: the token of an insert goes with its block.
--
-- Avro bodies follow each other without a frame, so a damaged one would shift every value after it unnoticed. Therefore
-- the sink sends read_offset and a known mark behind each record, and an insert without the mark in its place fails.
CREATE TABLE IF NOT EXISTS job_events_landing
(
    job_id UUID, tenant String, job_type String, lane String, ordering_key String, source String,
    submitted_at DateTime64(6, 'UTC'), traceparent String, labels Map(String, String), attempt UInt32,
    execution_id Nullable(UUID), worker_id String, host String, region String, instance_type String,
    worker_version String, request_partition Int32, request_offset Int64, started_at Nullable(DateTime64(6, 'UTC')),
    wait_ms Nullable(Float64), event_id UUID, kind String, occurred_at DateTime64(6, 'UTC'), final Bool,
    run_ms Nullable(Float64), cpu_ms Nullable(Float64), max_rss_bytes Nullable(Int64), progress Nullable(Float64),
    message String, error_type String, error_message String, error_fingerprint String, stack String,
    due_at Nullable(DateTime64(6, 'UTC')), kafka_partition Int32,
    kafka_offset Int64 DEFAULT read_offset
        + throwIf(record_end != 'MILLSTRM', 'the body of a record is longer or shorter than its schema says'),
    read_offset Int64 EPHEMERAL,
    record_end FixedString(8) EPHEMERAL
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS job_events_from_landing TO job_events AS
SELECT * FROM job_events_landing;

-- Reads what job_events_landing reads and passes nothing on: the sink finds a record that cannot be read by inserting
-- here, so that looking for it never writes a row. A change of one is a change of all three.
CREATE TABLE IF NOT EXISTS job_events_check AS job_events_landing ENGINE = Null;
