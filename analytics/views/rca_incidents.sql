-- Which incidents were there?
--
-- Parameters: from, to (UTC, to is exclusive; incidents that touch the window).
-- Columns: incident_id, metric, kind (burst, drop, level, stall), dimension, value (of the widest series that
--   shows it, '' for all jobs), started_at, ended_at (NULL while it lasts), observed, expected (share from 0 to 1, ms, cost or
--   events a step), excess (events beyond the usual), score, seen_in (other series), step_seconds.
-- Example: SELECT * FROM rca_incidents(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') WHERE metric =
--   'failure_rate'
CREATE OR REPLACE VIEW rca_incidents AS
SELECT
    incident_id, metric, kind, dimension, value, started_at, ended_at, observed, expected, excess, score, seen_in,
    step_seconds
FROM incidents FINAL
WHERE started_at < {to:DateTime64(6, 'UTC')} AND (ended_at IS NULL OR ended_at > {from:DateTime64(6, 'UTC')})
ORDER BY started_at, incident_id;
