-- How long rows are kept; run by `migrate` when the number of days has changed. Rollups are small and kept longer.
ALTER TABLE job_events MODIFY TTL toDateTime(occurred_at) + toIntervalDay(${RAW_DAYS});
ALTER TABLE job_attempts MODIFY TTL toDateTime(finished_at) + toIntervalDay(${RAW_DAYS});
ALTER TABLE throughput_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE latency_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
ALTER TABLE cost_1m MODIFY TTL minute + toIntervalDay(${ROLLUP_DAYS});
