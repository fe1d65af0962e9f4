-- What does each tenant cost, and how much of it was wasted?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: tenant, currency, attempts (count), slot_hours (vCPU hours occupied), cost, wasted_cost (attempts that
--   failed, timed out or were cancelled; each attempt of a retried job is counted by its own outcome), wasted_share (0
--   to 1), unpriced_hours (vCPU hours that no price covers; their cost counts as 0).
-- The price of an attempt: see priced_usage. Most expensive first.
-- Example: SELECT * FROM cost_by_tenant(from='2026-11-24', to='2026-11-25') LIMIT 3
CREATE OR REPLACE VIEW cost_by_tenant AS
SELECT
    tenant, currency,
    sum(usage.attempts) AS attempts,
    sum(usage.slot_hours) AS slot_hours,
    sum(usage.cost) AS cost,
    sumIf(usage.cost, outcome != 'succeeded') AS wasted_cost,
    if(cost > 0, wasted_cost / cost, 0) AS wasted_share,
    sum(usage.unpriced_hours) AS unpriced_hours
FROM priced_usage(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS usage
GROUP BY tenant, currency
ORDER BY cost DESC, tenant;
