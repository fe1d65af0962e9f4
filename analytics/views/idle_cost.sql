-- What did workers cost that had nothing to do, and who bears it?
--
-- A machine costs from the first to the last beat of its workers, second by second, at the price of its time; workers
-- that may use only some of its cores cost that part. The share of its slots that were not in use is idle. A day's idle
-- cost of a kind of machine is shared out by what the tenants ran on it that day; where nobody ran anything, tenant is
-- empty.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: day (UTC), instance_type, region, tenant, currency, machine_hours, machine_cost (of all tenants together),
--   utilisation (slots in use, 0 to 1), use_share (of this tenant in what ran, 0 to 1), used_cost (the tenant's part of
--   what was in use), idle_cost (the tenant's part of what was not),
--   unpriced_machine_hours (of all tenants together, that no price covers; their cost counts as 0).
-- Example: SELECT * FROM idle_cost(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') LIMIT 3
CREATE OR REPLACE VIEW idle_cost AS
WITH
    (
        SELECT arraySort(arrayDistinct(arrayConcat(groupArray(effective_from), groupArray(effective_to))))
        FROM price_book
    ) AS changes,
    assumeNotNull((SELECT argMax(toString(currency), written_at) FROM price_book)) AS book_currency,
    host_minutes AS
    (
        SELECT
            minute, host, instance_type, region,
            arrayCount(moment -> moment <= minute, changes) AS epoch,
            least(60, max(worker_seconds)) AS seconds,
            if(min(cores) = 0, 0, sum(cores)) AS all_cores,
            sum(slots) AS slot_seconds,
            sum(used) AS used_seconds
        FROM
        (
            SELECT
                minute, host, instance_type, region, worker_id,
                sum(up_s) AS worker_seconds, max(cpu_limit) AS cores, sum(capacity_s) AS slots, sum(busy_s) AS used
            FROM worker_usage
            WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
            GROUP BY minute, host, instance_type, region, worker_id
        )
        GROUP BY minute, host, instance_type, region
    ),
    machines AS
    (
        SELECT
            toDate(minute) AS day, host_minutes.instance_type AS instance_type, host_minutes.region AS region,
            any(book_currency) AS currency,
            sum(seconds) / 3600 AS machine_hours,
            sumIf(seconds, vcpus = 0) / 3600 AS unpriced_machine_hours,
            sumIf(
                seconds / 3600 * price_per_hour * if(all_cores = 0, 1, least(1, all_cores / vcpus)), vcpus > 0
            ) AS machine_cost,
            if(sum(slot_seconds) > 0, sum(used_seconds) / sum(slot_seconds), 0) AS utilisation
        FROM host_minutes
        LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
            ON host_minutes.instance_type = price.instance_type AND host_minutes.region = price.region
            AND host_minutes.epoch = price.epoch
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
