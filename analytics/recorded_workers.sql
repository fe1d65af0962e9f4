-- Which workers did a window have, with how many slots each, and what did a worker cost an hour?
--
-- A machine costs as in the view idle_cost, however many workers it has: they share it by their seconds of life. The
-- price of a worker is what all machines cost over the time of all workers. `unpriced` are kinds of machines that no
-- price was found for.
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
            groupArray(worker_id) AS workers,
            least(60, max(up)) AS seconds,
            if(min(cores) = 0, 0, sum(cores)) AS all_cores,
            sum(up) AS worker_seconds,
            sum(slots) AS slot_seconds
        FROM
        (
            SELECT
                minute, host, instance_type, region, worker_id,
                sum(up_s) AS up, max(cpu_limit) AS cores, sum(capacity_s) AS slots
            FROM worker_usage
            WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
            GROUP BY minute, host, instance_type, region, worker_id
        )
        GROUP BY minute, host, instance_type, region
    )
SELECT
    uniqExactArray(workers) AS number,
    sum(slot_seconds) / sum(worker_seconds) AS slots,
    sumIf(seconds * price_per_hour * if(all_cores = 0, 1, least(1, all_cores / vcpus)), vcpus > 0)
        / sum(worker_seconds) AS price_per_hour_of_each,
    groupUniqArrayIf(toString(host_minutes.instance_type), vcpus = 0) AS unpriced,
    groupUniqArrayIf(currency, vcpus > 0) AS currencies
FROM host_minutes
LEFT JOIN machine_prices(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS price
    ON host_minutes.instance_type = price.instance_type AND host_minutes.region = price.region
    AND host_minutes.epoch = price.epoch
