-- backlog_1m: how many jobs of each minute were submitted, started and finished?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period, lane, tenant, job_type, sum(submitted), sum(started), sum(finished)
FROM backlog_1m
GROUP BY ALL;

SELECT
    toStartOfMinute(submitted_at) AS period, lane, tenant, job_type, countIf(kind = 'submitted'),
    countIf(kind = 'started' AND attempt <= 1),
    countIf(final AND kind IN ('succeeded', 'failed', 'timed_out', 'cancelled'))
FROM job_events
WHERE kind IN ('submitted', 'started') OR final
GROUP BY ALL;
