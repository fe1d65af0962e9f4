-- incidents: when a metric left its usual course, as `millstream rca detect` found it. The newest row of an id is its
-- present state: a deviation that lasts is written again with each detection until it has an end.
CREATE TABLE IF NOT EXISTS incidents
(
    incident_id  String,
    metric       LowCardinality(String) COMMENT 'failure_rate, retries, queue_wait, run_time, cost, submissions, starts, throughput_drop',
    kind         LowCardinality(String) COMMENT 'burst, drop, level, stall',
    dimension    LowCardinality(String) COMMENT 'Of the widest series that shows it: empty for all jobs, lane, tenant, job_type',
    value        String                 COMMENT 'Value of the dimension',
    started_at   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    ended_at     Nullable(DateTime('UTC')) COMMENT 'NULL while it lasts',
    observed     Float64 COMMENT 'Mean of the metric during the incident: share from 0 to 1, ms, cost or events a step',
    expected     Float64 COMMENT 'What was usual, in the same unit',
    excess       Float64 COMMENT 'Events beyond the usual number; negative when there were fewer',
    score        Float64 COMMENT 'Evidence, in standard deviations summed up',
    seen_in      Array(String) COMMENT 'Other series that show it, dimension=value',
    step_seconds UInt32,
    written_at   DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY incident_id
SETTINGS non_replicated_deduplication_window = 10000;
