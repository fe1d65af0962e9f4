-- How many values has each dimension, in a sample of whole granules of the windows? The first column is the number of rows read.
SELECT count(), $counts
FROM
(
    SELECT $values
    FROM job_attempts
    WHERE ($windows) AND intDiv(_part_offset, 8192) % $sample = 0
);
