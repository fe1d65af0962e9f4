-- What do attempts cost, by a dimension, and how much of it was wasted?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished); by
--   ('tenant', 'job_type', 'lane', 'team', 'day', 'instance_type', 'region', 'outcome'; '' for all in one row).
-- Columns: dimension (value of `by`), currency, attempts (count), slot_hours (vCPU hours occupied), cpu_hours (CPU time
--   used), cost, wasted_cost (attempts that failed, timed out or were cancelled; each attempt by its own outcome),
--   wasted_share (0 to 1), unpriced_hours (vCPU hours that no price covers; their cost counts as 0).
-- The price of an attempt: see priced_usage. Most expensive first.
-- Example: SELECT * FROM cost(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00', by='team') LIMIT 3
CREATE OR REPLACE VIEW cost AS
SELECT
    multiIf(
        {by:String} = 'tenant', toString(tenant),
        {by:String} = 'job_type', toString(job_type),
        {by:String} = 'lane', toString(lane),
        {by:String} = 'team', toString(team),
        {by:String} = 'day', toString(day),
        {by:String} = 'instance_type', toString(instance_type),
        {by:String} = 'region', toString(region),
        {by:String} = 'outcome', toString(outcome),
        ''
    ) AS dimension,
    currency,
    sum(usage.attempts) AS attempts,
    sum(usage.slot_hours) AS slot_hours,
    sum(usage.cpu_hours) AS cpu_hours,
    sum(usage.cost) AS cost,
    sumIf(usage.cost, outcome != 'succeeded') AS wasted_cost,
    if(cost > 0, wasted_cost / cost, 0) AS wasted_share,
    sum(usage.unpriced_hours) AS unpriced_hours
FROM priced_usage(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS usage
GROUP BY dimension, currency
ORDER BY cost DESC, dimension;
