-- How busy is each worker, and how much of its capacity is free?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: worker_id, host, region, instance_type, worker_version (the newest in the window), up_s (seconds of uptime),
--   capacity (slots, mean), busy (slots in use, mean), utilisation (busy for each slot, 0 to 1), queued (jobs waiting
--   inside, mean), cpu_cores (cores used, mean), cpu_share (of the cores it may use, 0 to 1; 0 when not known),
--   max_rss_bytes, memory_share (peak of the memory it may use, 0 to 1; 0 when not known), last_seen (UTC).
-- Example: SELECT * FROM worker_utilisation(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00') LIMIT 3
CREATE OR REPLACE VIEW worker_utilisation AS
SELECT
    worker_id, host, region, instance_type,
    argMax(worker_version, worker_usage.last_seen) AS worker_version,
    sum(worker_usage.up_s) AS up_s,
    sum(capacity_s) / up_s AS capacity,
    sum(busy_s) / up_s AS busy,
    if(capacity > 0, busy / capacity, 0) AS utilisation,
    sum(queued_s) / up_s AS queued,
    sum(cpu_s) / up_s AS cpu_cores,
    if(max(cpu_limit) > 0, cpu_cores / max(cpu_limit), 0) AS cpu_share,
    max(worker_usage.max_rss_bytes) AS max_rss_bytes,
    if(max(memory_limit_bytes) > 0, max_rss_bytes / max(memory_limit_bytes), 0) AS memory_share,
    max(worker_usage.last_seen) AS last_seen
FROM worker_usage
WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
GROUP BY worker_id, host, region, instance_type
ORDER BY utilisation DESC, worker_id;
