-- Which tables does each table fill through materialised views?
SELECT source, extract(create_table_query, ' TO (?:`?[^.` ]+`?[.])?`?(\\w+)`?') AS target
FROM system.tables
INNER JOIN
(
    SELECT name AS source, arrayJoin(dependencies_table) AS view
    FROM system.tables
    WHERE database = currentDatabase()
) AS reading ON reading.view = name
WHERE database = currentDatabase() AND engine = 'MaterializedView'
ORDER BY source, target
