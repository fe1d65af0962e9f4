-- What did each kind of machine cost, and when did that change?
--
-- The price of a machine is that of its instance type and purchase option in its region, else in any region, else of
-- the type on demand, else of the type 'default'; a time that none of them covers has no row. A worker reports its
-- purchase option behind a slash: m5.large/spot.
--
-- Parameters: from, to (UTC, to is exclusive).
-- Columns: instance_type, region (as workers report them), epoch (how many times a price has changed before), valid_from,
--   valid_to (UTC, valid_to is exclusive), price_per_hour (of the whole machine), vcpus, currency, purchase_option (of
--   the price that applies).
-- Example: SELECT * FROM machine_prices(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00')
CREATE OR REPLACE VIEW machine_prices AS
WITH
    price_changes AS
    (
        SELECT
            arraySort(arrayDistinct(arrayConcat(groupArray(effective_from), groupArray(effective_to)))) AS moments,
            arrayJoin(arrayEnumerate(moments)) AS epoch,
            moments[epoch] AS valid_from,
            if(epoch < length(moments), moments[epoch + 1], toDateTime('2106-02-07 00:00:00', 'UTC')) AS valid_to
        FROM price_book
    ),
    machines AS
    (
        SELECT DISTINCT instance_type, region FROM cost_1h
        WHERE hour >= toStartOfHour({from:DateTime64(6, 'UTC')}) AND hour < {to:DateTime64(6, 'UTC')}
        UNION DISTINCT
        SELECT DISTINCT instance_type, region FROM worker_usage
        WHERE minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
    ),
    chosen AS
    (
        SELECT
            machines.instance_type AS instance_type, machines.region AS region, price_changes.epoch AS epoch,
            any(price_changes.valid_from) AS valid_from, any(price_changes.valid_to) AS valid_to,
            splitByChar('/', toString(machines.instance_type)) AS said,
            argMax(
                (price.price_per_hour, price.vcpus, toString(price.currency), toString(price.purchase_option)),
                (
                    price.instance_type = said[1], price.purchase_option = said[2], price.region = machines.region,
                    price.effective_from
                )
            ) AS price
        FROM machines
        CROSS JOIN price_changes
        CROSS JOIN (SELECT * FROM price_book FINAL) AS price
        WHERE price.instance_type IN (said[1], 'default')
          AND price.region IN (machines.region, '')
          AND price.purchase_option IN (said[2], 'on_demand')
          AND price_changes.valid_from >= price.effective_from AND price_changes.valid_from < price.effective_to
          AND price_changes.valid_from < {to:DateTime64(6, 'UTC')} AND price_changes.valid_to > {from:DateTime64(6, 'UTC')}
        GROUP BY instance_type, region, epoch
    )
SELECT
    instance_type, region, epoch, valid_from, valid_to, price.1 AS price_per_hour, price.2 AS vcpus, price.3 AS currency,
    price.4 AS purchase_option
FROM chosen
ORDER BY instance_type, region, epoch;
