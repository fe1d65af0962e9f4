-- Which column of each table says from when its rows are? That of its partitions, else the first of its key.
SELECT name, extract(if(partition_key = '', sorting_key, partition_key), '(\\w+)(?:[,)]|$)') AS time
FROM system.tables
WHERE database = currentDatabase() AND engine LIKE '%MergeTree'
