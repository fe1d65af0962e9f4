-- Which materialised views fill a table, and with which query?
SELECT name, as_select
FROM system.tables
WHERE database = currentDatabase() AND engine = 'MaterializedView'
    AND extract(create_table_query, ' TO (?:`?[^.` ]+`?[.])?`?(\\w+)`?') = {table:String}
ORDER BY name
