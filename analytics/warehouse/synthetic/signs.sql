-- Which deploys, alerts, dead letters and incidents would there have been, in `seconds` from `from`?
INSERT INTO changes_landing (change_id, occurred_at, kind, service, version, author, summary, labels, kafka_partition, kafka_offset)
SELECT
    reinterpretAsUUID(toUInt128(number + 1)),
    addSeconds({from:DateTime64(6, 'UTC')}, toInt64([0.3, 0.55, 0.65][number + 1] * {seconds:UInt32})),
    'deploy', 'workers', ['4.2.0', '4.3.0', '4.2.0'][number + 1], 'release-bot',
    ['faster exports', 'new currency field', 'roll back 4.3.0'][number + 1], map('team', 'team-1'), 0, number
FROM numbers(3);

INSERT INTO alerts_landing (fingerprint, kind, severity, opened_at, resolved_at, subject, summary, labels, kafka_partition, kafka_offset)
SELECT
    if(number < 2, 'spike-7', 'late-bulk'),
    if(number < 2, 'error_spike', 'late_job'),
    if(number < 2, 'critical', 'warning'),
    addSeconds({from:DateTime64(6, 'UTC')}, toInt64(if(number < 2, 0.56, 0.71) * {seconds:UInt32})),
    if(number = 1, addSeconds({from:DateTime64(6, 'UTC')}, toInt64(0.66 * {seconds:UInt32})), NULL),
    if(number < 2, 'mail.type_7', 'bulk'),
    if(number < 2, 'failures of mail.type_7 are nine times the usual', 'jobs of lane bulk wait longer than 20 s'),
    map('lane', if(number < 2, 'default', 'bulk')), 0, number
FROM numbers(3);

INSERT INTO dead_letters_landing
(
    job_id, tenant, job_type, attempt, occurred_at, reason, error_type, error_message, error_fingerprint, stack,
    worker_id, topic, partition, offset, record_key, record_value, kafka_partition, kafka_offset
)
SELECT
    toString(job_id), tenant, job_type, attempt, occurred_at, 'failed', '', '', '', '', worker_id,
    concat('millstream.jobs.', lane), request_partition, request_offset, toString(job_id), '{"report": 7}', kafka_partition,
    kafka_offset
FROM job_events
WHERE kind = 'dead_lettered';

INSERT INTO incidents
(
    incident_id, metric, kind, dimension, value, started_at, ended_at, observed, expected, excess, score, seen_in,
    step_seconds
)
WITH
    addSeconds({from:DateTime64(6, 'UTC')}, toInt64(0.55 * {seconds:UInt32})) AS begun,
    addSeconds({from:DateTime64(6, 'UTC')}, toInt64(0.65 * {seconds:UInt32})) AS over,
    finished_at >= begun AND finished_at < over AS during,
    outcome IN ('failed', 'timed_out') AS bad
SELECT
    formatDateTime(begun, 'failure_rate-%Y%m%d-%H%i'), 'failure_rate', 'burst', 'job_type', 'mail.type_7', begun, over,
    avgIf(bad, during) AS observed,
    avgIf(bad, finished_at < begun) AS expected,
    (observed - expected) * countIf(during) AS excess,
    excess / sqrt(expected * countIf(during)) AS score,
    [], 60
FROM job_attempts
WHERE job_type = 'mail.type_7'
  AND finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < addSeconds({from:DateTime64(6, 'UTC')}, {seconds:UInt32})
HAVING countIf(during AND bad) > 0 AND expected > 0;
