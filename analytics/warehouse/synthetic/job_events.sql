-- Which events would a busy platform have sent? Those of jobs first .. first + jobs - 1 of `total`, spread evenly over
-- `seconds` from `from`: 40 tenants of very different size, 25 job types, three lanes, eight hosts. Drawn by hashing
-- the job's number, so equal parameters give equal rows.
--
-- In the middle a release that fails one job type is deployed and rolled back, and the lane bulk is slow for a while. One attempt in thirty fails; a job has up to three.
INSERT INTO job_events_landing
(
    job_id, tenant, job_type, lane, ordering_key, source, submitted_at, traceparent, labels, attempt, execution_id,
    worker_id, host, region, instance_type, worker_version, request_partition, request_offset, started_at, wait_ms,
    event_id, kind, occurred_at, final, run_ms, cpu_ms, max_rss_bytes, progress, message, error_type, error_message,
    error_fingerprint, stack, due_at, kafka_partition, kafka_offset
)
WITH
    (salt -> cityHash64(n, salt) / 18446744073709551616.) AS draw,
    jobs AS
    (
        SELECT
            number + {first:UInt64} AS n,
            toUInt32(floor(40 * pow(draw('tenant'), 2))) AS tenant_number,
            (tenant_number * 3 + toUInt32(floor(5 * draw('type')))) % 25 AS type_number,
            n / {total:UInt64} AS position,
            addMicroseconds({from:DateTime64(6, 'UTC')}, toInt64(position * {seconds:UInt32} * 1000000)) AS submitted_at,
            position BETWEEN 0.55 AND 0.65 AS bad_release,
            position BETWEEN 0.7 AND 0.75 AND type_number % 3 = 2 AS slow_lane,
            if(bad_release, '4.3.0', if(position < 0.3, '4.1.0', '4.2.0')) AS worker_version,
            if(bad_release AND type_number = 7, 0.3, 0.033) AS failing,
            arrayFilter(
                a -> a = 1 OR arrayAll(b -> cityHash64(n, 'fails', b) / 18446744073709551616. < failing, range(1, a)),
                [1, 2, 3]
            ) AS attempts
        FROM numbers({jobs:UInt64})
    ),
    numbered AS
    (
        SELECT *, arrayJoin(attempts) AS attempt FROM jobs
    ),
    tried AS
    (
        SELECT
            *,
            (cityHash64(n, 'worker', attempt) % 16) AS worker_number,
            cityHash64(n, 'fails', attempt) / 18446744073709551616. < failing AS fails,
            -log(1 - cityHash64(n, 'wait', attempt) / 18446744073709551616.)
                * [150, 400, 1500][type_number % 3 + 1] * if(slow_lane, 20, 1) AS wait_ms,
            exp(sqrt(-2 * log(1 - cityHash64(n, 'u', attempt) / 18446744073709551616.))
                * cos(2 * pi() * cityHash64(n, 'v', attempt) / 18446744073709551616.) * 0.8)
                * 120 * (1 + type_number % 7) AS run_ms,
            arraySum(b -> 1000 * exp2(b), range(1, attempt)) + 3000 * (attempt - 1) AS delayed_ms,
            addMicroseconds(submitted_at, toInt64(1000 * (delayed_ms + wait_ms))) AS started_at,
            addMicroseconds(submitted_at, toInt64(1000 * (delayed_ms + wait_ms + run_ms))) AS ended_at,
            attempt = length(attempts) AS last,
            multiIf(
                NOT fails, 'succeeded',
                cityHash64(n, 'how', attempt) % 5 = 0, 'timed_out',
                'failed'
            ) AS outcome,
            multiIf(NOT fails, 0, outcome = 'timed_out', 1, bad_release AND type_number = 7, 2, 3 + n % 3) AS error_number,
            arrayFilter(
                event -> event.4,
                [
                    ('submitted', submitted_at, false, attempt = 1),
                    ('started', started_at, false, true),
                    (outcome, ended_at, last, true),
                    ('retry_scheduled', ended_at, false, NOT last),
                    ('dead_lettered', ended_at, false, last AND fails)
                ]
            ) AS events
        FROM numbered
    ),
    events AS
    (
        SELECT
            *,
            arrayJoin(events) AS event,
            event.1 = 'submitted' AS first_word,
            event.1 = outcome AS is_outcome
        FROM tried
    )
SELECT
    reinterpretAsUUID(
        bitOr(
            bitShiftLeft(toUInt128(bitOr(bitAnd(cityHash64(n, 'id'), 0x3fffffffffffffff), 0x8000000000000000)), 64),
            toUInt128(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli(submitted_at)), 16), 0x7000 + n % 4096))
        )
    ) AS job_id,
    concat('tenant-', toString(tenant_number)) AS tenant,
    concat(['reports', 'images', 'mail', 'exports', 'sync'][type_number % 5 + 1], '.type_', toString(type_number)) AS job_type,
    ['high', 'default', 'bulk'][type_number % 3 + 1] AS lane,
    '' AS ordering_key,
    concat('service-', toString(tenant_number % 4)) AS source,
    submitted_at,
    '' AS traceparent,
    map('team', concat('team-', toString(tenant_number % 6)), 'release', worker_version) AS labels,
    if(first_word, 0, attempt),
    if(first_word, NULL, job_id) AS execution_id,
    if(first_word, '', concat('worker-', toString(worker_number))) AS worker_id,
    if(first_word, '', concat('host-', toString(intDiv(worker_number, 2)))) AS host,
    if(first_word, '', if(worker_number < 10, 'eu-central-1', 'us-east-1')) AS region,
    if(first_word, '', if(worker_number < 8, 'm5.xlarge', 'c5.xlarge')) AS instance_type,
    if(first_word, '', worker_version),
    if(first_word, -1, toInt32(cityHash64(n, 'partition') % if(tenant_number = 0, 2, 8))) AS request_partition,
    if(first_word, -1, toInt64(n)) AS request_offset,
    if(first_word, NULL, started_at),
    if(first_word, NULL, wait_ms),
    reinterpretAsUUID(toUInt128(cityHash64(n, attempt, event.1))) AS event_id,
    event.1 AS kind,
    event.2 AS occurred_at,
    event.3 AS final,
    if(is_outcome, run_ms, NULL),
    if(is_outcome, run_ms * (0.1 + 0.5 * (n % 7) / 7), NULL) AS cpu_ms,
    if(is_outcome, toInt64(80000000 + n % 1000 * 200000), NULL) AS max_rss_bytes,
    NULL AS progress,
    '' AS message,
    if(is_outcome, ['', 'TimeoutError', 'KeyError', 'ConnectionError', 'ValueError', 'MemoryError'][error_number + 1], '') AS error_type,
    if(is_outcome, ['', 'ran longer than it may', '\'currency\'', 'connection reset by peer', 'no such page', 'cannot allocate'][error_number + 1], '') AS error_message,
    if(is_outcome AND error_number > 0, concat(error_type, '@', job_type), '') AS error_fingerprint,
    if(is_outcome AND error_number > 1, 'Traceback (most recent call last): in render', '') AS stack,
    if(event.1 = 'retry_scheduled', addMilliseconds(ended_at, 1000 * exp2(attempt)), NULL) AS due_at,
    toInt32(n % 8) AS kafka_partition,
    toInt64(n * 16 + attempt * 5) + indexOf(['submitted', 'started', 'succeeded', 'retry_scheduled', 'dead_lettered'], event.1) AS kafka_offset
FROM events
WHERE event.2 < addSeconds({from:DateTime64(6, 'UTC')}, {seconds:UInt32});
