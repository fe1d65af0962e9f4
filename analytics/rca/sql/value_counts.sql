-- How many values has each dimension, in a sample of the windows? The first column is the number of rows looked at.
SELECT count(), $counts
FROM
(
    SELECT $values
    FROM job_attempts
    WHERE ($windows) AND toUnixTimestamp64Micro(finished_at) % $sample = 0
    LIMIT 200000
);
