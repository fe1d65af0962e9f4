-- What did attempts cost each day, by every dimension of cost? (A part of other views.)
--
-- An attempt occupies one vCPU of its machine while it runs, or as many as it used when it used more, at the price of
-- the minute in which it finished: vCPU hours x price of the machine per hour / its vCPUs. See machine_prices.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: day (UTC), tenant, job_type, lane, team (label of that name), instance_type, region, outcome, currency,
--   attempts (count), slot_hours (vCPU hours occupied), cpu_hours (CPU time used), purchase_option (of the price that
--   applies), unit_price (of a vCPU hour), cost, unpriced_hours (vCPU hours that no price covers; their cost counts as
--   0).
-- Example: SELECT day, team, sum(cost) AS cost FROM priced_usage(from='2026-11-24', to='2026-11-25')
--          GROUP BY day, team ORDER BY day, team
CREATE OR REPLACE VIEW priced_usage AS
WITH
    assumeNotNull((SELECT argMax(toString(currency), written_at) FROM price_book)) AS book_currency,
    used AS
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
    used.instance_type AS instance_type, used.region AS region, used.outcome AS outcome,
    if(price.vcpus > 0, toString(price.currency), book_currency) AS currency,
    used.attempts AS attempts, used.slot_hours AS slot_hours, used.cpu_hours AS cpu_hours,
    price.purchase_option AS purchase_option,
    if(price.vcpus > 0, price.price_per_hour / price.vcpus, 0) AS unit_price,
    used.slot_hours * unit_price AS cost,
    if(price.vcpus > 0, 0, used.slot_hours) AS unpriced_hours
FROM used
LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
    ON used.instance_type = price.instance_type AND used.region = price.region AND used.epoch = price.epoch;
