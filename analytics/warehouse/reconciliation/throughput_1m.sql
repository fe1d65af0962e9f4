-- throughput_1m: how many events of each kind did each minute have?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period, lane, tenant, job_type, kind, sum(events)
FROM throughput_1m
GROUP BY ALL;

SELECT
    toStartOfMinute(occurred_at) AS period, lane, tenant, job_type, kind, count()
FROM job_events
GROUP BY ALL;
