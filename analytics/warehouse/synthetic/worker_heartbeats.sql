-- Which heartbeats would sixteen workers have sent, once a second for `seconds` from `from`?
INSERT INTO worker_heartbeats_landing
(
    worker_id, transactional_id, occurred_at, host, region, instance_type, worker_version, lanes, state, capacity, busy,
    queued, in_flight, cpu_percent, rss_bytes, memory_limit_bytes, cpu_limit, kafka_partition, kafka_offset
)
SELECT
    concat('worker-', toString(number % 16)) AS worker_id,
    worker_id AS transactional_id,
    addSeconds({from:DateTime64(6, 'UTC')}, intDiv(number, 16)) AS occurred_at,
    concat('host-', toString(intDiv(number % 16, 2))) AS host,
    if(number % 16 < 10, 'eu-central-1', 'us-east-1') AS region,
    if(number % 16 < 8, 'm5.xlarge', 'c5.xlarge') AS instance_type,
    multiIf(
        number / (16 * {seconds:UInt32}) BETWEEN 0.55 AND 0.65, '4.3.0',
        number / (16 * {seconds:UInt32}) < 0.3, '4.1.0',
        '4.2.0'
    ) AS worker_version,
    ['high', 'default', 'bulk'] AS lanes,
    'running' AS state,
    10 AS capacity,
    toInt32(3 + number % 16 / 4 + cityHash64(number) % 3) AS busy,
    toInt32(cityHash64(number, 'queued') % 20) AS queued,
    [] AS in_flight,
    busy * 11.5 AS cpu_percent,
    toInt64(300000000 + cityHash64(number, 'rss') % 100000000) AS rss_bytes,
    2000000000 AS memory_limit_bytes,
    2 AS cpu_limit,
    0 AS kafka_partition,
    toInt64(number) AS kafka_offset
FROM numbers(16 * {seconds:UInt32});
