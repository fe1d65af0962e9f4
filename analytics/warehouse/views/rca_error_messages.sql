-- Which error messages occurred, now and before, without their numbers and ids?
--
-- Parameters: history (UTC, start of the time before), from, to (UTC, to is exclusive; by the time of the outcome);
--   deploy (UTC; failures before and after it are counted separately).
-- Columns: error_type (class of the error), message (numbers, ids and addresses replaced by <*>), count (in the
--   window), before (in the time before it), before_deploy (before it, from history on), after_deploy (from it to
--   `to`), first_seen (from history on), last_before (last one before the window; 1970 when there is none), last_seen
--   (from history on), tenants (in the window, up to ten), job_types (in the window, up to ten), versions (of workers
--   in the window, up to ten), example_job (of the window where it is in the window), example_message (one of
--   them, unchanged). Most in the window first.
-- Example: SELECT * FROM rca_error_messages(history='2026-11-10', from='2026-11-24', to='2026-11-25', deploy='2026-11-24')
CREATE OR REPLACE VIEW rca_error_messages AS
WITH
    finished_at >= {from:DateTime64(6, 'UTC')} AS now,
    finished_at >= {deploy:DateTime64(6, 'UTC')} AS deployed
SELECT
    toString(error_type) AS error_type,
    replaceRegexpAll(
        substring(error_message, 1, 400),
        '[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|\\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{7,}\\b|[0-9]+(\\.[0-9]+)*', '<*>'
    ) AS message,
    countIf(now) AS count,
    countIf(NOT now) AS before,
    countIf(NOT deployed) AS before_deploy,
    countIf(deployed) AS after_deploy,
    min(finished_at) AS first_seen,
    maxIf(finished_at, NOT now) AS last_before,
    max(finished_at) AS last_seen,
    groupUniqArrayIf(10)(toString(tenant), now) AS tenants,
    groupUniqArrayIf(10)(toString(job_type), now) AS job_types,
    groupUniqArrayIf(10)(toString(worker_version), now) AS versions,
    toString(argMax(job_id, now)) AS example_job,
    argMax(job_attempts.error_message, now) AS example_message
FROM job_attempts
WHERE finished_at >= {history:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
  AND outcome IN ('failed', 'timed_out')
GROUP BY error_type, message
ORDER BY count DESC, before DESC, error_type, message
LIMIT 20000;
