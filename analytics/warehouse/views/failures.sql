-- What fails, for whom, how often, and with which error?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome).
-- Columns: tenant, job_type, attempts (count), failed, timed_out, cancelled (count), failure_rate (failed and timed
--   out, 0 to 1), top_error (most frequent error type), top_error_count, top_error_message (an example of it). Only
--   tenants and types with a failure, worst first.
-- Example: SELECT * FROM failures(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') WHERE failure_rate > 0.01
CREATE OR REPLACE VIEW failures AS
WITH by_error AS
(
    SELECT
        tenant, job_type, error_type,
        count() AS attempts,
        countIf(outcome = 'failed') AS failed,
        countIf(outcome = 'timed_out') AS timed_out,
        countIf(outcome = 'cancelled') AS cancelled,
        anyIf(error_message, error_message != '') AS message
    FROM job_attempts
    WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
    GROUP BY tenant, job_type, error_type
)
SELECT
    tenant, job_type,
    sum(by_error.attempts) AS attempts,
    sum(by_error.failed) AS failed,
    sum(by_error.timed_out) AS timed_out,
    sum(by_error.cancelled) AS cancelled,
    (failed + timed_out) / attempts AS failure_rate,
    argMax(toString(error_type), by_error.failed + by_error.timed_out) AS top_error,
    max(by_error.failed + by_error.timed_out) AS top_error_count,
    argMax(message, by_error.failed + by_error.timed_out) AS top_error_message
FROM by_error
GROUP BY tenant, job_type
HAVING failed + timed_out > 0
ORDER BY failed + timed_out DESC, tenant, job_type;
