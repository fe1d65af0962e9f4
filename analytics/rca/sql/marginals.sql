-- How much was bad out of how much, before and now, for each value of each dimension alone?
--
-- Columns: the dimensions (empty where not grouped by), which (bit i from the right is 0 when the row is of the i-th
-- dimension from the end), now, bads, attempts. Every bad attempt counts; of the others one in $sample is read and
-- counts that often, which is exact enough to select the dimensions of the exact pass.
SELECT $names, grouping($names) AS which, now, sum(bad * weight) AS bads, sum(weight) AS attempts
FROM
(
    SELECT $values, ($bad) AS bad, ($now) AS now, if($certain, 1, $sample) AS weight
    FROM job_attempts
    WHERE ($windows) AND ($counted)
      AND ($certain OR toUnixTimestamp64Micro(finished_at) % $sample = 0)
)
GROUP BY GROUPING SETS ($sets);
