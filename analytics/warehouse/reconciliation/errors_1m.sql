-- errors_1m: which errors occurred in each minute?
-- The first query reads the table, the second the raw events.
SELECT
    minute AS period, error_type, family, tenant, job_type, worker_version, sum(attempts), min(first_seen),
    max(last_seen), max(example)
FROM errors_1m
GROUP BY minute, error_type, family, tenant, job_type, worker_version;

SELECT
    toStartOfMinute(occurred_at) AS period, error_type, if(error_fingerprint = '', error_type, error_fingerprint),
    tenant, job_type, worker_version, count(), min(occurred_at), max(occurred_at),
    max((occurred_at, job_id, error_message))
FROM job_events
WHERE kind IN ('failed', 'timed_out')
GROUP BY 1, 2, 3, 4, 5, 6;
