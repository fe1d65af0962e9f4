-- worker_usage: how long was each worker up and busy in each minute?
-- First as the table says, then as the raw events say.
SELECT
    minute, worker_id, host, sum(up_s), sum(capacity_s), sum(busy_s), round(sum(cpu_s), 6),
    max(max_rss_bytes), max(last_seen)
FROM worker_usage
GROUP BY minute, worker_id, host;

SELECT
    toStartOfMinute(occurred_at), worker_id, host, count(), sum(capacity), sum(busy),
    round(sum(cpu_percent) / 100, 6), max(rss_bytes), max(occurred_at)
FROM worker_beats
GROUP BY 1, 2, 3;
