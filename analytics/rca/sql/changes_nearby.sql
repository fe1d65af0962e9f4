-- What was changed in the hour before the incident and during it?
SELECT occurred_at, kind, service, version, summary, labels
FROM changes
WHERE occurred_at >= toDateTime64('$start', 6, 'UTC') - INTERVAL 1 HOUR AND occurred_at < toDateTime64('$end', 6, 'UTC')
ORDER BY abs(dateDiff('millisecond', toDateTime64('$start', 6, 'UTC'), occurred_at))
LIMIT 20;
