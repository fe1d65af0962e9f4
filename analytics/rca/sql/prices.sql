-- What does a millisecond of run time cost on each machine, at the prices of the incident's start?
SELECT
    concat(toString(machine.instance_type), '@', toString(machine.region)) AS kind,
    argMax(
        price.price_per_hour / price.vcpus,
        (price.instance_type = machine.instance_type, price.region = machine.region, price.effective_from)
    ) / 3600000 AS price_per_ms
FROM (SELECT DISTINCT instance_type, region FROM cost_1m WHERE $windows) AS machine
CROSS JOIN (SELECT * FROM price_book FINAL WHERE purchase_option = 'on_demand') AS price
WHERE price.instance_type IN (machine.instance_type, 'default')
  AND price.region IN (machine.region, '')
  AND toDateTime64('$start', 6, 'UTC') >= price.effective_from
  AND toDateTime64('$start', 6, 'UTC') < price.effective_to
GROUP BY kind;
