-- worker_heartbeats: the state of each worker, once every interval_s seconds, from the topic jobs.heartbeats. Kept as long
-- as raw rows.
CREATE TABLE IF NOT EXISTS worker_heartbeats
(
    worker_id           LowCardinality(String),
    transactional_id    LowCardinality(String),
    occurred_at         DateTime64(6, 'UTC')    CODEC(DoubleDelta, ZSTD(1)),
    interval_s          Float64 DEFAULT 1       CODEC(ZSTD(1)) COMMENT 'Seconds that the heartbeat stands for',
    host                LowCardinality(String),
    region              LowCardinality(String),
    instance_type       LowCardinality(String),
    worker_version      LowCardinality(String),
    lanes               Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'Lanes it reads',
    state               LowCardinality(String)  COMMENT 'starting, running, draining, stopped',
    capacity            Int32                   CODEC(T64, ZSTD(1)) COMMENT 'Jobs it may run at once',
    busy                Int32                   CODEC(T64, ZSTD(1)) COMMENT 'Jobs it runs now',
    queued              Int32                   CODEC(T64, ZSTD(1)) COMMENT 'Jobs taken and waiting inside the worker',
    in_flight           Array(Tuple(job_id UUID, attempt Int32, since DateTime64(6, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'The longest-running jobs, at most 100',
    cpu_percent         Float64                 CODEC(ZSTD(1)) COMMENT 'CPU of the process, 100 for one core',
    rss_bytes           Int64                   CODEC(T64, ZSTD(1)),
    memory_limit_bytes  Nullable(Int64)         CODEC(ZSTD(1)),
    cpu_limit           Nullable(Float64)       CODEC(ZSTD(1)) COMMENT 'Cores that the process may use',
    kafka_partition     Int32                   CODEC(T64, ZSTD(1)),
    kafka_offset        Int64                   CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(occurred_at)
ORDER BY (worker_id, occurred_at)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Where the sink inserts, and where it tries rejected records; see job_events_landing.
CREATE TABLE IF NOT EXISTS worker_heartbeats_landing
(
    worker_id String, transactional_id String, occurred_at DateTime64(6, 'UTC'), interval_s Float64 DEFAULT 1,
    host String, region String, instance_type String, worker_version String, lanes Array(String), state String, capacity Int32, busy Int32,
    queued Int32, in_flight Array(Tuple(job_id UUID, attempt Int32, since DateTime64(6, 'UTC'))), cpu_percent Float64,
    rss_bytes Int64, memory_limit_bytes Nullable(Int64), cpu_limit Nullable(Float64), kafka_partition Int32,
    kafka_offset Int64 DEFAULT read_offset
        + throwIf(record_end != 'MILLSTRM', 'the body of a record is longer or shorter than its schema says'),
    read_offset Int64 EPHEMERAL,
    record_end FixedString(8) EPHEMERAL
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS worker_heartbeats_check AS worker_heartbeats_landing ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS worker_heartbeats_from_landing TO worker_heartbeats AS
SELECT * FROM worker_heartbeats_landing;

-- worker_usage: a worker's minute. A heartbeat stands for interval_s seconds, so sums weighted by it are seconds: of the
-- worker's uptime, of its slots, of slots in use, of CPU.
CREATE TABLE IF NOT EXISTS worker_usage
(
    minute              DateTime('UTC') CODEC(Delta, ZSTD(1)),
    worker_id           LowCardinality(String),
    host                LowCardinality(String),
    region              LowCardinality(String),
    instance_type       LowCardinality(String),
    worker_version      LowCardinality(String),
    up_s                SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Seconds of uptime',
    capacity_s          SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Slot seconds',
    busy_s              SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Slot seconds in use',
    queued_s            SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'Job seconds waiting inside the worker',
    cpu_s               SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)) COMMENT 'CPU seconds of the process',
    max_rss_bytes       SimpleAggregateFunction(max, Int64) CODEC(T64, ZSTD(1)),
    memory_limit_bytes  SimpleAggregateFunction(max, Int64) CODEC(T64, ZSTD(1)) COMMENT '0 when not known',
    cpu_limit           SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)) COMMENT 'Cores it may use; 0 when not known',
    last_seen           SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, worker_id, host, region, instance_type, worker_version)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS worker_usage_from_heartbeats TO worker_usage AS
SELECT
    toStartOfMinute(occurred_at) AS minute, worker_id, host, region, instance_type, worker_version,
    sum(interval_s) AS up_s,
    sum(capacity * interval_s) AS capacity_s,
    sum(busy * interval_s) AS busy_s,
    sum(queued * interval_s) AS queued_s,
    sumIf(cpu_percent / 100 * interval_s, isFinite(cpu_percent)) AS cpu_s,
    max(rss_bytes) AS max_rss_bytes,
    max(ifNull(worker_heartbeats.memory_limit_bytes, 0)) AS memory_limit_bytes,
    max(ifNull(worker_heartbeats.cpu_limit, 0)) AS cpu_limit,
    max(occurred_at) AS last_seen
FROM worker_heartbeats
-- A worker of another origin may send anything; a sum must stay a number.
WHERE isFinite(interval_s) AND interval_s > 0
GROUP BY minute, worker_id, host, region, instance_type, worker_version;
