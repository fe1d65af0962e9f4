-- What did idle workers cost, and which tenants are charged for it?
--
-- What a machine costs: see machine_minutes. The share of its slots that were not in use is idle. A day's idle cost of a
-- kind of machine is shared out by what the tenants ran on it that day; where no attempt ran, tenant is empty.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: day (UTC), instance_type, region, tenant, currency, machine_hours, machine_cost (of all tenants together),
--   utilisation (slots in use, 0 to 1), use_share (of this tenant in the run time, 0 to 1), used_cost (the tenant's part of
--   the slots in use), idle_cost (the tenant's part of the idle slots),
--   unpriced_machine_hours (of all tenants together, that no price covers; their cost counts as 0).
-- Example: SELECT * FROM idle_cost(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') LIMIT 3
CREATE OR REPLACE VIEW idle_cost AS
WITH
    assumeNotNull((SELECT argMax(toString(currency), written_at) FROM price_book)) AS book_currency,
    machines AS
    (
        SELECT
            toDate(minute) AS day, instance_type, region,
            any(book_currency) AS currency,
            sum(seconds) / 3600 AS machine_hours,
            sumIf(seconds, NOT priced) / 3600 AS unpriced_machine_hours,
            sum(cost) AS machine_cost,
            if(sum(slot_seconds) > 0, sum(used_seconds) / sum(slot_seconds), 0) AS utilisation
        FROM machine_minutes(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')})
        GROUP BY day, instance_type, region
    ),
    use AS
    (
        SELECT toDate(at) AS day, instance_type, region, toString(tenant) AS tenant, sum(vcpu_ms) AS amount
        FROM usage_spans(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')})
        GROUP BY day, instance_type, region, tenant
    )
SELECT
    machines.day AS day, machines.instance_type AS instance_type, machines.region AS region, use.tenant AS tenant, currency,
    machine_hours, machine_cost, utilisation,
    if(sum(amount) OVER kind > 0, amount / sum(amount) OVER kind, 1) AS use_share,
    machine_cost * utilisation * use_share AS used_cost,
    machine_cost * (1 - utilisation) * use_share AS idle_cost,
    unpriced_machine_hours
FROM machines
LEFT JOIN use ON machines.day = use.day AND machines.instance_type = use.instance_type AND machines.region = use.region
WINDOW kind AS (PARTITION BY machines.day, machines.instance_type, machines.region)
ORDER BY day, instance_type, region, idle_cost DESC, tenant;
