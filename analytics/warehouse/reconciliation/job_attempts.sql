-- job_attempts: what was the outcome of each attempt?
-- The first query reads the table, the second the raw events.
SELECT
    toStartOfMinute(finished_at) AS period,
    job_id, attempt, execution_id, tenant, job_type, lane, ordering_key, source, labels, outcome, final, submitted_at,
    started_at, finished_at, wait_ms, run_ms, total_ms, cpu_ms, max_rss_bytes, worker_id, host, region, instance_type,
    worker_version, error_type, error_message, error_fingerprint, kafka_partition, kafka_offset
FROM job_attempts;

SELECT
    toStartOfMinute(occurred_at) AS period,
    job_id, attempt, execution_id, tenant, job_type, lane, ordering_key, source, labels, kind, final, submitted_at,
    started_at, occurred_at, wait_ms, run_ms,
    (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(submitted_at)) / 1000, cpu_ms, max_rss_bytes,
    worker_id, host, region, instance_type, worker_version, error_type, error_message, error_fingerprint,
    kafka_partition, kafka_offset
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled');
