-- Which tables and views has a database, of which engines and with which columns?
SELECT t.name, t.engine, groupArray(c.name) AS columns
FROM system.tables AS t
LEFT JOIN system.columns AS c ON t.database = c.database AND t.name = c.table
WHERE t.database = {database:String}
GROUP BY t.name, t.engine
ORDER BY t.name
