-- What did the work cost, day by day and by all that it can be split by? (A part of other views.)
--
-- An attempt occupies one vCPU of its machine while it runs, or as many as it used when it used more, at the price of
-- the minute in which it finished: vCPU hours x price of the machine per hour / its vCPUs. See machine_prices.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: day (UTC), tenant, job_type, lane, team (label of that name), instance_type, region, outcome, currency,
--   attempts (count), slot_hours (vCPU hours occupied), cpu_hours (CPU time used), unit_price (of a vCPU hour), cost.
-- Example: SELECT day, team, sum(cost) AS cost FROM priced_usage(from='2026-11-24', to='2026-11-25')
--          GROUP BY day, team ORDER BY day, team
CREATE OR REPLACE VIEW priced_usage AS
WITH used AS
(
    SELECT
        toDate(at) AS day, tenant, job_type, lane, team, instance_type, region, outcome, epoch,
        sum(spans.attempts) AS attempts,
        sum(spans.vcpu_ms) / 3600000 AS slot_hours,
        sum(spans.cpu_ms) / 3600000 AS cpu_hours
    FROM usage_spans(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS spans
    GROUP BY day, tenant, job_type, lane, team, instance_type, region, outcome, epoch
)
SELECT
    used.day AS day, used.tenant AS tenant, used.job_type AS job_type, used.lane AS lane, used.team AS team,
    used.instance_type AS instance_type, used.region AS region, used.outcome AS outcome, price.currency AS currency,
    used.attempts AS attempts, used.slot_hours AS slot_hours, used.cpu_hours AS cpu_hours,
    price.price_per_hour / price.vcpus AS unit_price,
    used.slot_hours * price.price_per_hour / price.vcpus AS cost
FROM used
LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
    ON used.instance_type = price.instance_type AND used.region = price.region AND used.epoch = price.epoch;
