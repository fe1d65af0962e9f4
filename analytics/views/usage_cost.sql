-- What did the work cost, minute by minute?
--
-- The rule: an attempt occupies one vCPU of its machine for as long as it runs, at the price that was valid when it
-- finished: run time in hours x price of the machine per hour / its vCPUs. The price is that of its instance type in
-- its region, else of its instance type anywhere, else of the type 'default'.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: minute, tenant, job_type, lane, instance_type, region, outcome, attempts (count), slot_hours (vCPU hours),
--   cpu_hours (CPU time used), cost, currency, wasted (true when the attempt did not succeed).
-- Example: SELECT job_type, sum(cost) FROM usage_cost(from='2026-11-24', to='2026-11-25') GROUP BY job_type
CREATE OR REPLACE VIEW usage_cost AS
WITH
    used AS
    (
        SELECT
            minute, tenant, job_type, lane, instance_type, region, outcome,
            sum(cost_1m.attempts) AS attempts,
            sum(cost_1m.run_ms) / 3600000 AS slot_hours,
            sum(cost_1m.cpu_ms) / 3600000 AS cpu_hours
        FROM cost_1m
        WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
        GROUP BY minute, tenant, job_type, lane, instance_type, region, outcome
    ),
    prices AS
    (
        SELECT
            machine.minute AS minute, machine.instance_type AS instance_type, machine.region AS region,
            argMax(
                (price.price_per_hour / price.vcpus, toString(price.currency)),
                (price.instance_type = machine.instance_type, price.region = machine.region, price.effective_from)
            ) AS rate
        FROM (SELECT DISTINCT minute, instance_type, region FROM used) AS machine
        CROSS JOIN (SELECT * FROM price_book FINAL WHERE purchase_option = 'on_demand') AS price
        WHERE price.instance_type IN (machine.instance_type, 'default')
          AND price.region IN (machine.region, '')
          AND machine.minute >= price.effective_from AND machine.minute < price.effective_to
        GROUP BY minute, instance_type, region
    )
SELECT
    used.minute AS minute, used.tenant AS tenant, used.job_type AS job_type, used.lane AS lane,
    used.instance_type AS instance_type, used.region AS region, used.outcome AS outcome,
    used.attempts AS attempts, used.slot_hours AS slot_hours, used.cpu_hours AS cpu_hours,
    used.slot_hours * prices.rate.1 AS cost,
    prices.rate.2 AS currency,
    used.outcome != 'succeeded' AS wasted
FROM used
LEFT JOIN prices
    ON used.minute = prices.minute AND used.instance_type = prices.instance_type AND used.region = prices.region;
