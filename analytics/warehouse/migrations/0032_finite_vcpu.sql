-- cost_1m: CPU time that is not a finite number counts as none in vcpu_ms too, as it does in cpu_ms.
ALTER TABLE cost_1m_from_attempts MODIFY QUERY
SELECT
    toStartOfMinute(finished_at) AS minute, tenant, job_type, lane, instance_type, region, outcome,
    labels['team'] AS team,
    count() AS attempts,
    sumIf(assumeNotNull(job_attempts.run_ms), isFinite(job_attempts.run_ms)) AS run_ms,
    sumIf(assumeNotNull(job_attempts.cpu_ms), isFinite(job_attempts.cpu_ms)) AS cpu_ms,
    sumIf(
        greatest(
            assumeNotNull(job_attempts.run_ms), if(isFinite(job_attempts.cpu_ms), assumeNotNull(job_attempts.cpu_ms), 0)
        ),
        isFinite(job_attempts.run_ms)
    ) AS vcpu_ms
FROM job_attempts
GROUP BY minute, tenant, job_type, lane, instance_type, region, outcome, team;

-- The lasting identity: see 0031.
RENAME TABLE IF EXISTS cost_1m_from_attempts TO cost_1m_from_attempts_renamed;

RENAME TABLE IF EXISTS cost_1m_from_attempts_renamed TO cost_1m_from_attempts;
