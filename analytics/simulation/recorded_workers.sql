-- Which workers did a window have, with how many slots each, and what did a worker cost an hour?
--
-- The workers of a machine share its cost by their uptime: the price of a worker is what all machines cost over
-- the time of all workers. `unpriced` are the kinds of machines without a price.
SELECT
    uniqExactArray(workers) AS number,
    sum(slot_seconds) / sum(worker_seconds) AS slots,
    3600 * sum(cost) / sum(worker_seconds) AS price_per_hour_of_each,
    groupUniqArrayIf(toString(instance_type), NOT priced) AS unpriced,
    groupUniqArrayIf(currency, priced) AS currencies
FROM machine_minutes(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')})
