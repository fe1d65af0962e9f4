-- What did attempts cost in each minute?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: minute (UTC), tenant, job_type, lane, team (label of that name), instance_type, region, outcome, attempts
--   (count), slot_hours (vCPU hours occupied), cpu_hours (CPU time used), cost, currency, unpriced_hours (vCPU hours
--   that no price covers; their cost counts as 0), wasted (true when the attempt did not succeed).
-- The price of an attempt: see priced_usage, which reads less over days.
-- Example: SELECT minute, sum(cost) AS cost FROM usage_cost(from='2026-11-24 10:00:00', to='2026-11-24 10:03:00')
--          GROUP BY minute ORDER BY minute
CREATE OR REPLACE VIEW usage_cost AS
WITH
    (
        SELECT arraySort(arrayDistinct(arrayConcat(groupArray(effective_from), groupArray(effective_to))))
        FROM price_book
    ) AS changes,
    assumeNotNull((SELECT argMax(toString(currency), written_at) FROM price_book)) AS book_currency,
    used AS
    (
        SELECT
            minute, tenant, job_type, lane, team, instance_type, region, outcome,
            arrayCount(moment -> moment <= minute, changes) AS epoch,
            sum(cost_1m.attempts) AS attempts,
            sum(if(cost_1m.vcpu_ms > 0, cost_1m.vcpu_ms, cost_1m.run_ms)) / 3600000 AS slot_hours,
            sum(cost_1m.cpu_ms) / 3600000 AS cpu_hours
        FROM cost_1m
        WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
        GROUP BY minute, tenant, job_type, lane, team, instance_type, region, outcome
    )
SELECT
    used.minute AS minute, used.tenant AS tenant, used.job_type AS job_type, used.lane AS lane, used.team AS team,
    used.instance_type AS instance_type, used.region AS region, used.outcome AS outcome,
    used.attempts AS attempts, used.slot_hours AS slot_hours, used.cpu_hours AS cpu_hours,
    if(price.vcpus > 0, used.slot_hours * price.price_per_hour / price.vcpus, 0) AS cost,
    if(price.vcpus > 0, toString(price.currency), book_currency) AS currency,
    if(price.vcpus > 0, 0, used.slot_hours) AS unpriced_hours,
    used.outcome != 'succeeded' AS wasted
FROM used
LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
    ON used.instance_type = price.instance_type AND used.region = price.region AND used.epoch = price.epoch;
