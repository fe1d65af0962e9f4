-- Which labels do attempts carry, in a sample of the windows?
SELECT DISTINCT arrayJoin(mapKeys(labels)) AS key
FROM (SELECT labels FROM job_attempts WHERE $windows LIMIT 100000)
ORDER BY key
LIMIT 50;
