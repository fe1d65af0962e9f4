-- How did other jobs perform that ran at the same time and place as this job's attempts?
--
-- Parameters: job (its id); margin_s (seconds before and after each attempt that count as the same time).
-- Columns: attempt (of the job), host (where it ran), place (same_host, same_type_elsewhere, same_tenant_elsewhere,
--   elsewhere; the job itself is left out; an attempt elsewhere of the same tenant and type counts as of the type),
--   attempts (of other jobs), failed (failed and timed out), failure_rate (failed of attempts), wait_p95_ms (for a
--   worker), run_p95_ms (of the handler).
-- Example: SELECT * FROM rca_job_neighbours(job='01a20d0c-1b28-71f2-a41c-99fb55726003', margin_s=300)
CREATE OR REPLACE VIEW rca_job_neighbours AS
WITH own AS
(
    SELECT attempt, tenant, job_type, host, ifNull(started_at, submitted_at) AS begun, finished_at
    FROM job_attempts
    WHERE job_id = {job:UUID}
)
SELECT
    own.attempt AS attempt,
    own.host AS host,
    multiIf(other.host = own.host, 'same_host',
            other.job_type = own.job_type, 'same_type_elsewhere',
            other.tenant = own.tenant, 'same_tenant_elsewhere', 'elsewhere') AS place,
    count() AS attempts,
    countIf(other.outcome IN ('failed', 'timed_out')) AS failed,
    failed / attempts AS failure_rate,
    ifNull(quantileExact(0.95)(other.wait_ms), 0) AS wait_p95_ms,
    ifNull(quantileExact(0.95)(other.run_ms), 0) AS run_p95_ms
FROM
(
    SELECT job_id, tenant, job_type, host, outcome, wait_ms, run_ms, started_at, finished_at
    FROM job_attempts
    WHERE finished_at >= (SELECT min(begun) FROM own) - toIntervalSecond({margin_s:UInt32})
      AND ifNull(started_at, submitted_at) <= (SELECT max(finished_at) FROM own) + toIntervalSecond({margin_s:UInt32})
      AND job_id != {job:UUID}
) AS other
CROSS JOIN own
WHERE other.finished_at >= own.begun - toIntervalSecond({margin_s:UInt32})
  AND ifNull(other.started_at, other.finished_at) <= own.finished_at + toIntervalSecond({margin_s:UInt32})
GROUP BY attempt, host, place
ORDER BY attempt, host, place;
