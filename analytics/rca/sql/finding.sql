-- How much was bad out of how much inside this finding, before and now?
SELECT
    sumIf($bad, NOT ($now)) AS bad_before, countIf(NOT ($now)) AS of_before,
    sumIf($bad, $now) AS bad_now, countIf($now) AS of_now
FROM job_attempts
WHERE ($windows) AND ($counted) AND ($inside)
