-- throughput_1h: how many events of each kind did each hour have?
-- The first query reads the table, the second the raw events.
SELECT
    hour AS period, lane, tenant, job_type, kind, sum(events)
FROM throughput_1h
GROUP BY ALL;

SELECT
    toStartOfHour(occurred_at) AS period, lane, tenant, job_type, kind, count()
FROM job_events
GROUP BY ALL;
