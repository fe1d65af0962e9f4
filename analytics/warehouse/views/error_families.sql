-- Which errors occur, since when, for which tenants, and which are new?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: family (fingerprint, else the type), error_type, attempts (that failed with it), share (of all failed attempts, 0
--   to 1), job_types, tenants, versions (how many of each), first_seen, last_seen (UTC, in the window), is_new (not
--   seen in the seven days before), example_job (the newest), example_message. Most frequent first.
-- Example: SELECT * FROM error_families(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00') LIMIT 3
CREATE OR REPLACE VIEW error_families AS
WITH
    toStartOfMinute({from:DateTime64(6, 'UTC')}) AS start,
    found AS
    (
        SELECT
            family,
            any(errors_1m.error_type) AS error_type,
            sum(errors_1m.attempts) AS attempts,
            uniqExact(job_type) AS job_types,
            uniqExact(tenant) AS tenants,
            uniqExact(worker_version) AS versions,
            min(errors_1m.first_seen) AS first_seen,
            max(errors_1m.last_seen) AS last_seen,
            max(errors_1m.example) AS example
        FROM errors_1m
        WHERE minute >= start AND minute < {to:DateTime64(6, 'UTC')}
        GROUP BY family
    )
SELECT
    family, error_type, attempts,
    attempts / sum(attempts) OVER () AS share,
    job_types, tenants, versions, first_seen, last_seen,
    family NOT IN (SELECT family FROM errors_1m WHERE minute >= start - INTERVAL 7 DAY AND minute < start) AS is_new,
    example.2 AS example_job,
    example.3 AS example_message
FROM found
ORDER BY attempts DESC, family;
