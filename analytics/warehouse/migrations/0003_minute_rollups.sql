-- Minute rollups: what a dashboard over weeks reads instead of the raw rows. A minute is that of the event itself, so a
-- late event still lands in the minute it belongs to. A part may hold several rows of one key until it is merged:
-- readers always sum or merge, and never need FINAL.

-- Events by kind.
CREATE TABLE IF NOT EXISTS throughput_1m
(
    minute    DateTime('UTC') CODEC(Delta, ZSTD(1)),
    lane      LowCardinality(String),
    tenant    LowCardinality(String),
    job_type  LowCardinality(String),
    kind      LowCardinality(String),
    events    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, lane, tenant, job_type, kind)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS throughput_1m_from_events TO throughput_1m AS
SELECT toStartOfMinute(occurred_at) AS minute, lane, tenant, job_type, kind, count() AS events
FROM job_events
GROUP BY minute, lane, tenant, job_type, kind;

-- Durations of attempts by stage. DDSketch states: a quantile is within 1 % of the true value, and the answer does not
-- depend on the order in which parts merge, so the rollup can be compared with the raw table (t-digest states cannot),
-- and a state takes about 300 bytes.
CREATE TABLE IF NOT EXISTS latency_1m
(
    minute    DateTime('UTC') CODEC(Delta, ZSTD(1)),
    stage     LowCardinality(String) COMMENT 'queue_wait, run, total (submission to the final outcome)',
    lane      LowCardinality(String),
    tenant    LowCardinality(String),
    job_type  LowCardinality(String),
    attempts  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sum_ms    SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    max_ms    SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    quantiles AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99), Float64) CODEC(ZSTD(1)) COMMENT 'p50, p90, p95, p99'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, stage, lane, tenant, job_type)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_1m_from_attempts TO latency_1m AS
SELECT
    toStartOfMinute(finished_at) AS minute, measured.1 AS stage, lane, tenant, job_type,
    count() AS attempts,
    sum(assumeNotNull(measured.2)) AS sum_ms,
    max(assumeNotNull(measured.2)) AS max_ms,
    quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(measured.2)) AS quantiles
FROM job_attempts
ARRAY JOIN [('queue_wait', wait_ms), ('run', run_ms), ('total', if(final, total_ms, NULL))] AS measured
WHERE isFinite(measured.2)
GROUP BY minute, stage, lane, tenant, job_type;

-- What attempts used, and on which machines. Money is not stored: views multiply by the price that was valid in that
-- minute, so a corrected price corrects the past.
CREATE TABLE IF NOT EXISTS cost_1m
(
    minute         DateTime('UTC') CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String),
    job_type       LowCardinality(String),
    lane           LowCardinality(String),
    instance_type  LowCardinality(String),
    region         LowCardinality(String),
    outcome        LowCardinality(String),
    attempts       SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    run_ms         SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    cpu_ms         SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, tenant, job_type, lane, instance_type, region, outcome)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS cost_1m_from_attempts TO cost_1m AS
SELECT
    toStartOfMinute(finished_at) AS minute, tenant, job_type, lane, instance_type, region, outcome,
    count() AS attempts,
    sumIf(assumeNotNull(job_attempts.run_ms), isFinite(job_attempts.run_ms)) AS run_ms,
    sumIf(assumeNotNull(job_attempts.cpu_ms), isFinite(job_attempts.cpu_ms)) AS cpu_ms
FROM job_attempts
GROUP BY minute, tenant, job_type, lane, instance_type, region, outcome;
