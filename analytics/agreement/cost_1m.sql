-- cost_1m: how many attempts ended in each minute on which machines, and how long did they run?
-- First as the table says, then as the raw events say.
SELECT
    minute, tenant, job_type, lane, instance_type, outcome, team, sum(attempts), round(sum(run_ms), 3),
    round(sum(vcpu_ms), 3)
FROM cost_1m
GROUP BY minute, tenant, job_type, lane, instance_type, outcome, team;

SELECT
    toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, kind, labels['team'], count(),
    round(sum(assumeNotNull(run_ms)), 3),
    round(sum(greatest(assumeNotNull(run_ms), assumeNotNull(cpu_ms))), 3)
FROM job_events
WHERE kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')
GROUP BY toStartOfMinute(occurred_at), tenant, job_type, lane, instance_type, kind, labels['team'];
