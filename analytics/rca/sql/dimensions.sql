-- Which columns of job_attempts can name a cause? Those of few values by type, less what is itself an outcome.
SELECT name
FROM system.columns
WHERE database = currentDatabase() AND table = 'job_attempts' AND type = 'LowCardinality(String)'
  AND name NOT IN ('outcome', 'error_type')
ORDER BY position;
