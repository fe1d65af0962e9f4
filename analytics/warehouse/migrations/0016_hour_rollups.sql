-- Hour rollups, and latency by lane alone: what views over days read, with minutes only at the edges of a window. They are
-- made from what is inserted into the minute rollups. What those held before is copied first; run `migrate` while the
-- sink is stopped, so that nothing falls in between.
CREATE TABLE IF NOT EXISTS throughput_1h
(
    hour      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    lane      LowCardinality(String),
    tenant    LowCardinality(String),
    job_type  LowCardinality(String),
    kind      LowCardinality(String),
    events    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, lane, tenant, job_type, kind)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

INSERT INTO throughput_1h (hour, lane, tenant, job_type, kind, events)
SELECT toStartOfHour(minute) AS hour, lane, tenant, job_type, kind, sum(events)
FROM throughput_1m
GROUP BY hour, lane, tenant, job_type, kind
SETTINGS insert_deduplication_token = 'throughput before 0016';

CREATE MATERIALIZED VIEW IF NOT EXISTS throughput_1h_from_minutes TO throughput_1h AS
SELECT toStartOfHour(minute) AS hour, lane, tenant, job_type, kind, sum(throughput_1m.events) AS events
FROM throughput_1m
GROUP BY hour, lane, tenant, job_type, kind;

CREATE TABLE IF NOT EXISTS latency_1h
(
    hour      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    stage     LowCardinality(String),
    lane      LowCardinality(String),
    tenant    LowCardinality(String),
    job_type  LowCardinality(String),
    attempts  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sum_ms    SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    max_ms    SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    quantiles AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99), Float64) CODEC(ZSTD(1)) COMMENT 'p50, p90, p95, p99'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, stage, lane, tenant, job_type)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

INSERT INTO latency_1h (hour, stage, lane, tenant, job_type, attempts, sum_ms, max_ms, quantiles)
SELECT
    toStartOfHour(minute) AS hour, stage, lane, tenant, job_type, sum(attempts), sum(sum_ms), max(max_ms),
    quantilesDDMergeState(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)
FROM latency_1m
GROUP BY hour, stage, lane, tenant, job_type
SETTINGS insert_deduplication_token = 'latency before 0016';

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_1h_from_minutes TO latency_1h AS
SELECT
    toStartOfHour(minute) AS hour, stage, lane, tenant, job_type,
    sum(latency_1m.attempts) AS attempts,
    sum(latency_1m.sum_ms) AS sum_ms,
    max(latency_1m.max_ms) AS max_ms,
    quantilesDDMergeState(0.01, 0.5, 0.9, 0.95, 0.99)(latency_1m.quantiles) AS quantiles
FROM latency_1m
GROUP BY hour, stage, lane, tenant, job_type;

CREATE TABLE IF NOT EXISTS lane_latency_1m
(
    minute    DateTime('UTC') CODEC(Delta, ZSTD(1)),
    stage     LowCardinality(String),
    lane      LowCardinality(String),
    attempts  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sum_ms    SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    max_ms    SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    quantiles AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99), Float64) CODEC(ZSTD(1)) COMMENT 'p50, p90, p95, p99'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (stage, minute, lane)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

INSERT INTO lane_latency_1m (minute, stage, lane, attempts, sum_ms, max_ms, quantiles)
SELECT
    minute, stage, lane, sum(attempts), sum(sum_ms), max(max_ms),
    quantilesDDMergeState(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles)
FROM latency_1m
GROUP BY minute, stage, lane
SETTINGS insert_deduplication_token = 'lane latency before 0016';

CREATE MATERIALIZED VIEW IF NOT EXISTS lane_latency_1m_from_latency TO lane_latency_1m AS
SELECT
    minute, stage, lane,
    sum(latency_1m.attempts) AS attempts,
    sum(latency_1m.sum_ms) AS sum_ms,
    max(latency_1m.max_ms) AS max_ms,
    quantilesDDMergeState(0.01, 0.5, 0.9, 0.95, 0.99)(latency_1m.quantiles) AS quantiles
FROM latency_1m
GROUP BY minute, stage, lane;

CREATE TABLE IF NOT EXISTS cost_1h
(
    hour           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String),
    job_type       LowCardinality(String),
    lane           LowCardinality(String),
    instance_type  LowCardinality(String),
    region         LowCardinality(String),
    outcome        LowCardinality(String),
    team           LowCardinality(String),
    attempts       SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    run_ms         SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    cpu_ms         SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    vcpu_ms        SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, tenant, job_type, lane, instance_type, region, outcome, team)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

INSERT INTO cost_1h (hour, tenant, job_type, lane, instance_type, region, outcome, team, attempts, run_ms, cpu_ms, vcpu_ms)
SELECT
    toStartOfHour(minute) AS hour, tenant, job_type, lane, instance_type, region, outcome, team, sum(attempts),
    sum(run_ms), sum(cpu_ms), sum(if(cost_1m.vcpu_ms > 0, cost_1m.vcpu_ms, cost_1m.run_ms))
FROM cost_1m
GROUP BY hour, tenant, job_type, lane, instance_type, region, outcome, team
SETTINGS insert_deduplication_token = 'cost before 0016';

CREATE MATERIALIZED VIEW IF NOT EXISTS cost_1h_from_minutes TO cost_1h AS
SELECT
    toStartOfHour(minute) AS hour, tenant, job_type, lane, instance_type, region, outcome, team,
    sum(cost_1m.attempts) AS attempts,
    sum(cost_1m.run_ms) AS run_ms,
    sum(cost_1m.cpu_ms) AS cpu_ms,
    sum(cost_1m.vcpu_ms) AS vcpu_ms
FROM cost_1m
GROUP BY hour, tenant, job_type, lane, instance_type, region, outcome, team;
