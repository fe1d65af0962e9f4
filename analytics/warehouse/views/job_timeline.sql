-- Which events did this job have?
--
-- Parameters: job (its id).
-- Columns: occurred_at (UTC), since_submit_ms, kind, attempt, final, worker_id, host, worker_version, wait_ms, run_ms,
--   cpu_ms, progress (0 to 1), message, error_type, error_message, due_at, tenant, job_type, lane.
-- Example: SELECT * FROM job_timeline(job='01a20d0c-1b28-71f2-a41c-99fb55726003')
CREATE OR REPLACE VIEW job_timeline AS
SELECT
    occurred_at,
    (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(submitted_at)) / 1000 AS since_submit_ms,
    kind, attempt, final, worker_id, host, worker_version, wait_ms, run_ms, cpu_ms, progress, message,
    error_type, error_message, due_at, tenant, job_type, lane
FROM job_events
WHERE job_id = {job:UUID}
ORDER BY occurred_at, attempt, kafka_partition, kafka_offset;
