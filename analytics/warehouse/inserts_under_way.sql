-- How many inserts into landing tables run now, on this server or, from $processes, on all of a cluster?
SELECT count()
FROM $processes
WHERE query_kind = 'Insert' AND current_database = currentDatabase() AND match(query, '_landing(_local)?\\b')
