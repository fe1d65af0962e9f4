-- Which jobs cost most, retries included?
--
-- Parameters: from, to (UTC, to is exclusive; by the time of the outcome); tenant ('' for all).
-- Columns: job_id, tenant, job_type, lane, team (label of that name), attempts (with an outcome in the window), outcome
--   (of the last of them), slot_hours (vCPU hours occupied), cost, wasted_cost (attempts that did not succeed),
--   currency, unpriced_hours (vCPU hours that no price covers; their cost counts as 0). At most 50 rows,
--   most expensive first, among the 500 jobs whose attempts occupied most vCPU time.
-- The price of an attempt: see priced_usage.
-- Example: SELECT job_id, job_type, attempts, cost, wasted_cost
--          FROM most_expensive_jobs(from='2026-11-24 10:00:00', to='2026-11-24 10:20:00', tenant='') LIMIT 3
CREATE OR REPLACE VIEW most_expensive_jobs AS
WITH
    (
        SELECT arraySort(arrayDistinct(arrayConcat(groupArray(effective_from), groupArray(effective_to))))
        FROM price_book
    ) AS changes,
    assumeNotNull((SELECT argMax(toString(currency), written_at) FROM price_book)) AS book_currency,
    largest AS
    (
        SELECT job_id
        FROM job_attempts
        WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
          AND ({tenant:String} = '' OR job_attempts.tenant = {tenant:String})
        ORDER BY greatest(ifNull(run_ms, 0), ifNull(cpu_ms, 0)) DESC
        LIMIT 500
    ),
    tried AS
    (
        SELECT
            job_id, tenant, job_type, lane, labels['team'] AS team, attempt, outcome, instance_type, region,
            greatest(ifNull(run_ms, 0), ifNull(cpu_ms, 0)) / 3600000 AS hours,
            arrayCount(moment -> moment <= toStartOfMinute(finished_at), changes) AS epoch
        FROM job_attempts
        WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
          AND job_id GLOBAL IN (SELECT job_id FROM largest)
    )
SELECT
    job_id, any(tried.tenant) AS tenant, any(tried.job_type) AS job_type, any(tried.lane) AS lane, any(tried.team) AS team,
    count() AS attempts,
    argMax(tried.outcome, attempt) AS outcome,
    sum(hours) AS slot_hours,
    sumIf(hours * price_per_hour / vcpus, vcpus > 0) AS cost,
    sumIf(hours * price_per_hour / vcpus, vcpus > 0 AND tried.outcome != 'succeeded') AS wasted_cost,
    any(book_currency) AS currency,
    sumIf(hours, vcpus = 0) AS unpriced_hours
FROM tried
LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
    ON tried.instance_type = price.instance_type AND tried.region = price.region AND tried.epoch = price.epoch
GROUP BY job_id
ORDER BY cost DESC, job_id
LIMIT 50;
