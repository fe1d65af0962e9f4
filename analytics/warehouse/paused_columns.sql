-- Which columns make ClickHouse reject inserts, and of which tables? Each is named after the command that pauses.
SELECT name, table
FROM system.columns
WHERE database = currentDatabase() AND name LIKE 'paused\\_by\\_%'
ORDER BY name, table
