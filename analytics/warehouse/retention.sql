-- How long are rows kept? Run by `migrate` for each table whose number of days has changed. Rollups are small and kept
-- longer; changes, prices and budgets are kept for ever.
ALTER TABLE job_events MODIFY TTL toDateTime(occurred_at) + toIntervalDay(${RAW_DAYS});
ALTER TABLE job_attempts MODIFY TTL toDateTime(finished_at) + toIntervalDay(${RAW_DAYS});
ALTER TABLE jobs MODIFY TTL toDateTime(submitted_at) + toIntervalDay(${RAW_DAYS});
ALTER TABLE worker_heartbeats MODIFY TTL toDateTime(occurred_at) + toIntervalDay(${RAW_DAYS});
ALTER TABLE throughput_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE latency_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE cost_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE backlog_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE errors_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE partitions_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE worker_usage MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE alerts MODIFY TTL toDateTime(opened_at) + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE dead_letters MODIFY TTL toDateTime(occurred_at) + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE throughput_1h MODIFY TTL hour + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE latency_1h MODIFY TTL hour + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE lane_latency_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE cost_1h MODIFY TTL hour + toIntervalDay(${ROLLUP_DAYS});
