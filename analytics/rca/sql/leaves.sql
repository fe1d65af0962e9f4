-- How much was bad out of how much, before and now, for each combination of the selected values?
--
-- Columns: leaf (the values' numbers, as digits of mixed radix, 0 for all other values), now, bads, squares (sum of the
-- squared contributions), attempts.
SELECT leaf, now, sum(bad) AS bads, sum(toFloat64(bad) * bad) AS squares, count() AS attempts
FROM
(
    SELECT $leaf AS leaf, ($bad) AS bad, ($now) AS now
    FROM job_attempts
    WHERE ($windows) AND ($counted)
)
GROUP BY leaf, now;
