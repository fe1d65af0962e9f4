-- worker_usage: how long was each worker up and busy in each minute?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period,
    worker_id, host, region, instance_type, worker_version, round(sum(up_s), 6), round(sum(capacity_s), 6),
    round(sum(busy_s), 6), round(sum(queued_s), 6), round(sum(cpu_s), 6), max(max_rss_bytes), max(memory_limit_bytes), max(cpu_limit), max(last_seen)
FROM worker_usage
GROUP BY minute, worker_id, host, region, instance_type, worker_version;

SELECT
    toStartOfMinute(occurred_at) AS period,
    worker_id, host, region, instance_type, worker_version, round(sum(interval_s), 6),
    round(sum(capacity * interval_s), 6), round(sum(busy * interval_s), 6), round(sum(queued * interval_s), 6),
    round(sumIf(cpu_percent / 100 * interval_s, isFinite(cpu_percent)), 6), max(rss_bytes),
    max(ifNull(memory_limit_bytes, 0)), max(ifNull(cpu_limit, 0)), max(occurred_at)
FROM worker_heartbeats
WHERE isFinite(interval_s) AND interval_s > 0
GROUP BY 1, 2, 3, 4, 5, 6;
