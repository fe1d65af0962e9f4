-- On which of the seven earlier days were there attempts in the hours of the incident?
SELECT day, count() AS attempts
FROM
(
    SELECT toUInt8(arrayJoin(range(1, 8))) AS day
) AS days
INNER JOIN
(
    SELECT toUInt8(intDiv(dateDiff('second', finished_at, toDateTime64('$end', 6, 'UTC')), 86400)) AS day
    FROM job_attempts
    WHERE finished_at >= toDateTime64('$start', 6, 'UTC') - INTERVAL 7 DAY
      AND finished_at < toDateTime64('$end', 6, 'UTC') - INTERVAL 1 DAY
      AND positiveModulo(dateDiff('microsecond', toDateTime64('$start', 6, 'UTC'), finished_at), 86400000000)
          < dateDiff('microsecond', toDateTime64('$start', 6, 'UTC'), toDateTime64('$end', 6, 'UTC'))
) AS attempts USING (day)
GROUP BY day
ORDER BY day;
