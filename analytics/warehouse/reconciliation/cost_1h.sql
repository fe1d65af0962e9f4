-- cost_1h: how many attempts ended in each hour on which machines, and what did they use?
-- The first query reads the table, the second the raw events. For the rounding, see latency_1h.
SELECT
    hour AS period,
    tenant, job_type, lane, instance_type, region, outcome, team, sum(attempts), round(sum(run_ms) + 0.0005),
    round(sum(cpu_ms) + 0.0005), round(sum(vcpu_ms) + 0.0005)
FROM cost_1h
GROUP BY hour, tenant, job_type, lane, instance_type, region, outcome, team;

SELECT
    toStartOfHour(occurred_at) AS period, tenant, job_type, lane, instance_type, region, kind, labels['team'], count(),
    round(sumIf(assumeNotNull(run_ms), isFinite(run_ms)) + 0.0005),
    round(sumIf(assumeNotNull(cpu_ms), isFinite(cpu_ms)) + 0.0005),
    round(
        sumIf(greatest(assumeNotNull(run_ms), if(isFinite(cpu_ms), assumeNotNull(cpu_ms), 0)), isFinite(run_ms))
        + 0.0005
    )
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')
GROUP BY toStartOfHour(occurred_at), tenant, job_type, lane, instance_type, region, kind, labels['team'];
