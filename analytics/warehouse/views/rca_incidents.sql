-- Which incidents were recorded?
--
-- Parameters: from, to (UTC, to is exclusive; incidents that touch the window).
-- Columns: incident_id (such as failure_rate-20261124-1033), metric (failure_rate, retries, queue_wait, run_time, cost,
--   submissions, starts, throughput_drop), kind (burst, drop, level, stall), dimension (of the widest series that shows
--   it, '' for all jobs), value (of the dimension), started_at (when it left its usual range), ended_at (NULL while it
--   lasts), observed (mean: share from 0 to 1, ms, cost or events a step), expected (in the same unit),
--   excess (events beyond the expected), score (evidence, standard deviations summed up), seen_in (other series that show
--   it), step_seconds (width of a step of the series).
-- Example: SELECT * FROM rca_incidents(from='2026-11-24', to='2026-11-25') WHERE metric = 'failure_rate'
CREATE OR REPLACE VIEW rca_incidents AS
SELECT
    incident_id, metric, kind, dimension, value, started_at, ended_at, observed, expected, excess, score, seen_in,
    step_seconds
FROM incidents FINAL
WHERE started_at < {to:DateTime64(6, 'UTC')} AND (ended_at IS NULL OR ended_at > {from:DateTime64(6, 'UTC')})
ORDER BY started_at, incident_id;
