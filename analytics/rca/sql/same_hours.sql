-- On which of the seven earlier days were there attempts in the hours of the incident?
SELECT intDiv(dateDiff('microsecond', finished_at, toDateTime64('$end', 6, 'UTC')) - 1, 86400000000) AS day, count() AS attempts
FROM job_attempts
WHERE finished_at >= toDateTime64('$start', 6, 'UTC') - INTERVAL 7 DAY
  AND finished_at < toDateTime64('$end', 6, 'UTC') - INTERVAL 1 DAY
  AND positiveModulo(dateDiff('microsecond', toDateTime64('$start', 6, 'UTC'), finished_at), 86400000000)
      < dateDiff('microsecond', toDateTime64('$start', 6, 'UTC'), toDateTime64('$end', 6, 'UTC'))
GROUP BY day
ORDER BY day;
