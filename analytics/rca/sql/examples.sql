-- When did the first bad attempt inside the finding end, and which jobs are examples?
SELECT
    minOrNull(finished_at) AS first_seen,
    arraySlice(arrayDistinct(groupArray(20)(toString(job_id))), 1, 5) AS jobs
FROM
(
    SELECT finished_at, job_id
    FROM job_attempts
    WHERE ($window) AND ($counted) AND ($inside) AND ($bad) > 0
    ORDER BY finished_at
);
