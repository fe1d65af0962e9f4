-- Which labels do attempts carry, in a sample of whole granules of the windows?
SELECT DISTINCT arrayJoin(mapKeys(labels)) AS key
FROM job_attempts
WHERE ($windows) AND intDiv(_part_offset, 8192) % $sample = 0
ORDER BY key
LIMIT 50;
