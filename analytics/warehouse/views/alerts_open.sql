-- Which alerts were sent, and which are still open?
--
-- Parameters: from, to (UTC, to is exclusive; by the time it opened).
-- Columns: fingerprint (equal for alerts of one cause), kind (lost_worker, stuck_job, late_job, error_spike, budget,
--   other), severity (info, warning, critical; the newest), subject (the worker, job, tenant or type concerned),
--   summary (the newest), opened_at (UTC), resolved_at (UTC; NULL while open), records (on jobs.alerts). Open
--   ones first, newest first.
-- Example: SELECT * FROM alerts_open(from='2026-11-24', to='2026-11-25')
CREATE OR REPLACE VIEW alerts_open AS
SELECT
    fingerprint,
    any(alerts.kind) AS kind,
    argMax(alerts.severity, kafka_offset) AS severity,
    any(alerts.subject) AS subject,
    argMax(alerts.summary, kafka_offset) AS summary,
    opened_at,
    max(alerts.resolved_at) AS resolved_at,
    count() AS records
FROM alerts
WHERE opened_at >= {from:DateTime64(6, 'UTC')} AND opened_at < {to:DateTime64(6, 'UTC')}
GROUP BY fingerprint, opened_at
ORDER BY resolved_at IS NULL DESC, opened_at DESC, fingerprint;
