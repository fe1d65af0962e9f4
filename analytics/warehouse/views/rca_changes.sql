-- What was changed: deploys, configuration and quotas?
--
-- Parameters: from, to (UTC, to is exclusive).
-- Columns: occurred_at (when it took effect), kind (deploy, config, quota, infrastructure, other), service (what was
--   changed), version (that it has since), author (a person or a system), summary (one line), labels (dimensions that it
--   touches).
-- Example: SELECT * FROM rca_changes(from='2026-11-24', to='2026-11-25') WHERE kind = 'deploy'
CREATE OR REPLACE VIEW rca_changes AS
SELECT DISTINCT occurred_at, kind, service, version, author, summary, labels
FROM changes
WHERE occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {to:DateTime64(6, 'UTC')}
ORDER BY occurred_at, service;
