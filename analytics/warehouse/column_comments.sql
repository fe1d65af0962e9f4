-- How do the tables describe the columns of events?
SELECT name, any(comment) AS meaning
FROM system.columns
WHERE database = currentDatabase() AND comment != '' AND table = 'job_events' AND name != 'kind'
GROUP BY name
