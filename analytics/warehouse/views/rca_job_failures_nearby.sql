-- What else failed on this job's hosts around the same time?
--
-- Parameters: job (its id); margin_s (seconds before its first start and after its last outcome).
-- Columns: host (that the job ran on), tenant (whose attempts failed), job_type (of them), error_type (class of the
--   error), failed (attempts), first_at (first outcome), last_at (last outcome), example_job (one of them),
--   example_message (of one of them). Most failures first.
-- Example: SELECT * FROM rca_job_failures_nearby(job='01a20d0c-1b28-71f2-a41c-99fb55726003', margin_s=300)
CREATE OR REPLACE VIEW rca_job_failures_nearby AS
WITH own AS
(
    SELECT host, ifNull(started_at, submitted_at) AS begun, finished_at
    FROM job_attempts
    WHERE job_id = {job:UUID}
)
SELECT
    host, tenant, job_type, error_type,
    count() AS failed,
    min(finished_at) AS first_at,
    max(finished_at) AS last_at,
    any(job_id) AS example_job,
    any(error_message) AS example_message
FROM job_attempts
WHERE finished_at >= (SELECT min(begun) FROM own) - toIntervalSecond({margin_s:UInt32})
  AND finished_at <= (SELECT max(own.finished_at) FROM own) + toIntervalSecond({margin_s:UInt32})
  AND host GLOBAL IN (SELECT host FROM own)
  AND outcome IN ('failed', 'timed_out')
  AND job_id != {job:UUID}
GROUP BY host, tenant, job_type, error_type
ORDER BY failed DESC, host, tenant, job_type, error_type;
