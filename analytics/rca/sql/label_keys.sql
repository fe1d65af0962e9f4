-- Which labels do attempts carry, in a sample of the windows?
SELECT DISTINCT arrayJoin(mapKeys(labels)) AS key
FROM job_attempts
WHERE ($windows) AND toUnixTimestamp64Micro(finished_at) % $sample = 0
ORDER BY key
LIMIT 50;
