-- cost_1m: how many attempts ended in each minute on which machines, and what did they use?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period,
    tenant, job_type, lane, instance_type, region, outcome, team, sum(attempts), round(sum(run_ms), 3),
    round(sum(cpu_ms), 3), round(sum(vcpu_ms), 3)
FROM cost_1m
GROUP BY minute, tenant, job_type, lane, instance_type, region, outcome, team;

SELECT
    toStartOfMinute(occurred_at) AS period,
    tenant, job_type, lane, instance_type, region, kind, labels['team'], count(),
    round(sumIf(assumeNotNull(run_ms), isFinite(run_ms)), 3), round(sumIf(assumeNotNull(cpu_ms), isFinite(cpu_ms)), 3),
    round(sumIf(greatest(assumeNotNull(run_ms), if(isFinite(cpu_ms), assumeNotNull(cpu_ms), 0)), isFinite(run_ms)), 3)
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')
GROUP BY toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, region, kind, labels['team'];
