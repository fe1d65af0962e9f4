-- Into which tables do sinks insert?
SELECT name
FROM system.tables
WHERE database = currentDatabase() AND engine = 'Null' AND match(name, '_landing(_local)?$')
ORDER BY name
