-- What did each machine cost in each minute, and how much of it was in use? (A part of other views.)
--
-- A machine costs from the first to the last heartbeat of its workers, second by second, at the price of its time; workers
-- that may use only some of its cores cost that part.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: minute (UTC), host, instance_type, region, seconds (that it was up), priced (0 where no price covers it),
--   currency, cost (0 without a price), workers (their ids), worker_seconds (uptime of all its workers), slot_seconds,
--   used_seconds (slots in use).
-- Example: SELECT minute, count() AS machines, sum(cost) AS cost
--          FROM machine_minutes(from='2026-11-24 10:00:00', to='2026-11-24 10:03:00') GROUP BY minute ORDER BY minute
CREATE OR REPLACE VIEW machine_minutes AS
WITH
    (
        SELECT arraySort(arrayDistinct(arrayConcat(groupArray(effective_from), groupArray(effective_to))))
        FROM price_book
    ) AS changes,
    host_minutes AS
    (
        SELECT
            minute, host, instance_type, region,
            arrayCount(moment -> moment <= minute, changes) AS epoch,
            least(60, max(up)) AS seconds,
            if(min(cores) = 0, 0, sum(cores)) AS all_cores,
            groupArray(worker_id) AS workers,
            sum(up) AS worker_seconds,
            sum(slots) AS slot_seconds,
            sum(used) AS used_seconds
        FROM
        (
            SELECT
                minute, host, instance_type, region, worker_id,
                sum(up_s) AS up, max(cpu_limit) AS cores, sum(capacity_s) AS slots, sum(busy_s) AS used
            FROM worker_usage
            WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
            GROUP BY minute, host, instance_type, region, worker_id
        )
        GROUP BY minute, host, instance_type, region
    )
SELECT
    minute, host, host_minutes.instance_type AS instance_type, host_minutes.region AS region, seconds,
    vcpus > 0 AS priced,
    toString(price.currency) AS currency,
    if(priced, seconds / 3600 * price_per_hour * if(all_cores = 0, 1, least(1, all_cores / vcpus)), 0) AS cost,
    workers, worker_seconds, slot_seconds, used_seconds
FROM host_minutes
LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
    ON host_minutes.instance_type = price.instance_type AND host_minutes.region = price.region
    AND host_minutes.epoch = price.epoch;
