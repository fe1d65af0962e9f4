-- Where do jobs queue: arrivals, starts and waits of each lane, tenant, type or partition?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the start); by ('lane', 'tenant', 'job_type', 'partition'
--   for lane and partition of the request, 'worker').
-- Columns: value (of `by`), arrivals (jobs and retries that became due), starts (attempts), arrivals_per_s (mean),
--   starts_per_s (mean), wait_mean_ms (for a worker), wait_p95_ms (for a worker), queued (jobs waiting at once, on
--   average: arrivals x wait, Little's law), workers (that started any), partitions (of requests that were started).
--   Longest queue first.
-- Example: SELECT * FROM rca_load(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', by='lane')
CREATE OR REPLACE VIEW rca_load AS
WITH
    greatest(0.001, dateDiff('millisecond', {from:DateTime64(6, 'UTC')}, {to:DateTime64(6, 'UTC')}) / 1000) AS seconds
SELECT
    multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
            {by:String} = 'job_type', toString(job_type), {by:String} = 'worker', toString(worker_id),
            concat(lane, '/', toString(request_partition))) AS value,
    countIf(due >= {from:DateTime64(6, 'UTC')}) AS arrivals,
    count() AS starts,
    arrivals / seconds AS arrivals_per_s,
    starts / seconds AS starts_per_s,
    avg(waited) AS wait_mean_ms,
    quantileExact(0.95)(waited) AS wait_p95_ms,
    sum(waited) / 1000 / seconds AS queued,
    uniqExact(worker_id) AS workers,
    uniqExact(request_partition) AS partitions
FROM
(
    SELECT
        lane, tenant, job_type, request_partition, worker_id,
        ifNull(wait_ms, 0) AS waited,
        occurred_at - toIntervalMicrosecond(toInt64(ifNull(wait_ms, 0) * 1000)) AS due
    FROM job_events
    WHERE kind = 'started'
      AND occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {to:DateTime64(6, 'UTC')}
)
GROUP BY value
ORDER BY queued DESC, value;
