-- cost_1m by team, and with what attempts really occupied: one vCPU while they ran, or more where they used more. The team
-- is the label of that name; rows from before have none, and their run time counts.
ALTER TABLE cost_1m ADD COLUMN IF NOT EXISTS team LowCardinality(String) AFTER outcome,
    ADD COLUMN IF NOT EXISTS vcpu_ms SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    MODIFY ORDER BY (minute, tenant, job_type, lane, instance_type, region, outcome, team);

ALTER TABLE cost_1m_from_attempts MODIFY QUERY
SELECT
    toStartOfMinute(finished_at) AS minute, tenant, job_type, lane, instance_type, region, outcome,
    labels['team'] AS team,
    count() AS attempts,
    sumIf(assumeNotNull(job_attempts.run_ms), isFinite(job_attempts.run_ms)) AS run_ms,
    sumIf(assumeNotNull(job_attempts.cpu_ms), isFinite(job_attempts.cpu_ms)) AS cpu_ms,
    sumIf(
        greatest(assumeNotNull(job_attempts.run_ms), ifNull(job_attempts.cpu_ms, 0)), isFinite(job_attempts.run_ms)
    ) AS vcpu_ms
FROM job_attempts
GROUP BY minute, tenant, job_type, lane, instance_type, region, outcome, team;
