-- Which columns of job_attempts can name a cause? Those of types with few values, without the outcomes themselves.
SELECT name
FROM system.columns
WHERE database = currentDatabase() AND table = 'job_attempts' AND type = 'LowCardinality(String)'
  AND name NOT IN ('outcome', 'error_type')
ORDER BY position;
