-- Who or what explains that more attempts went wrong: a value of one dimension, or of two together?
--
-- Every value and every pair of values is a suspect. What it is expected to do in the incident is its own rate of the
-- baseline, drawn towards that of all attempts by the weight of one bad attempt, so a new release is expected to be
-- like the rest. The score is the Poisson log-likelihood ratio of its bad attempts against that, less the one of all
-- other attempts (what it leaves unexplained), less 1 for a second dimension. Suspects that cover the same attempts
-- score alike. Among N suspects, chance reaches about ln N: a score below ln N + 4 means little. `millstream rca
-- explain` looks at three dimensions and knows how much rates wander by themselves.
--
-- Parameters: from, to (the incident; UTC, to is exclusive; by the time of the outcome); baseline_from, baseline_to
--   (the time to compare with, which should not overlap the incident); metric ('failure_rate' for failed and timed out,
--   'slow' for those that ran longer than slow_ms); slow_ms (milliseconds, read by 'slow' alone).
-- Columns: cause (such as tenant=acme, host=host-1), bad_before (bad attempts of the baseline), attempts_before, bad_now
--   (bad attempts of the incident), attempts_now, inside_before_rate (bad of the cause's attempts, baseline),
--   inside_now_rate (the same, incident), outside_before_rate (bad of all other attempts, baseline), outside_now_rate
--   (the same, incident), expected (bad attempts that the cause's rate of the baseline gives), excess (bad beyond the
--   expected), excess_share (of the whole excess; what fell elsewhere is left out), score (nats). Best score first; only
--   scores above 0.
-- Example: SELECT cause, bad_before, attempts_before, bad_now, attempts_now, excess_share, score FROM
--   rca_attribution(from='2026-11-24 10:33:00', to='2026-11-24 10:39:00', baseline_from='2026-11-24 10:00:00',
--   baseline_to='2026-11-24 10:33:00', metric='failure_rate', slow_ms=0)
CREATE OR REPLACE VIEW rca_attribution AS
WITH
    (count, mean) -> if(count > mean, count * log(count / mean) - (count - mean), 0) AS evidence,
    leaves AS
    (
        SELECT
            tenant, job_type, lane, host, worker_id, worker_version, region, instance_type, labels,
            countIf(now) AS attempts_now,
            countIf(now AND bad) AS bad_now,
            countIf(NOT now) AS attempts_before,
            countIf(NOT now AND bad) AS bad_before
        FROM
        (
            SELECT
                tenant, job_type, lane, host, worker_id, worker_version, region, instance_type, labels,
                finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')} AS now,
                multiIf(
                    {metric:String} = 'failure_rate', outcome IN ('failed', 'timed_out'),
                    {metric:String} = 'slow', ifNull(run_ms > {slow_ms:Float64}, false),
                    throwIf(true, 'metric is failure_rate or slow')
                ) AS bad
            FROM job_attempts
            WHERE now
               OR (finished_at >= {baseline_from:DateTime64(6, 'UTC')} AND finished_at < {baseline_to:DateTime64(6, 'UTC')})
        )
        GROUP BY tenant, job_type, lane, host, worker_id, worker_version, region, instance_type, labels
    ),
    named AS
    (
        SELECT
            * EXCEPT (tenant, job_type, lane, host, worker_id, worker_version, region, instance_type, labels),
            arrayConcat(
                [
                    concat('tenant=', tenant), concat('job_type=', job_type), concat('lane=', lane),
                    concat('host=', host), concat('worker_id=', worker_id),
                    concat('worker_version=', worker_version), concat('region=', region),
                    concat('instance_type=', instance_type)
                ],
                arraySort(arrayMap((name, value) -> concat(name, '=', value), mapKeys(labels), mapValues(labels)))
            ) AS names
        FROM leaves
    ),
    whole AS
    (
        SELECT
            sum(attempts_now) AS attempts_now,
            sum(bad_now) AS bad_now,
            sum(attempts_before) AS attempts_before,
            sum(bad_before) AS bad_before,
            (bad_before + 1) / (attempts_before + 1) AS rate
        FROM leaves
    ),
    suspects AS
    (
        SELECT
            if(first = second, names[first], concat(names[first], ', ', names[second])) AS cause,
            any(first != second) AS is_pair,
            sum(named.attempts_now) AS attempts_now,
            sum(named.bad_now) AS bad_now,
            sum(named.attempts_before) AS attempts_before,
            sum(named.bad_before) AS bad_before
        FROM named
        ARRAY JOIN arrayEnumerate(names) AS first
        ARRAY JOIN range(first, length(names) + 1) AS second
        GROUP BY cause
    ),
    judged AS
    (
        SELECT
            suspects.*,
            whole.attempts_now - suspects.attempts_now AS other_attempts_now,
            whole.bad_now - suspects.bad_now AS other_bad_now,
            whole.attempts_before - suspects.attempts_before AS other_attempts_before,
            whole.bad_before - suspects.bad_before AS other_bad_before,
            suspects.attempts_now * (suspects.bad_before + 1) / (suspects.attempts_before + 1 / whole.rate) AS expected,
            other_attempts_now * (other_bad_before + 1) / (other_attempts_before + 1 / whole.rate) AS other_expected,
            suspects.bad_now - expected AS excess,
            evidence(suspects.bad_now, expected) - evidence(other_bad_now, other_expected) - is_pair AS score
        FROM suspects
        CROSS JOIN whole
        WHERE suspects.bad_now > 0
    )
SELECT
    cause, bad_before, attempts_before, bad_now, attempts_now,
    if(attempts_before = 0, 0, bad_before / attempts_before) AS inside_before_rate,
    if(attempts_now = 0, 0, bad_now / attempts_now) AS inside_now_rate,
    if(other_attempts_before = 0, 0, other_bad_before / other_attempts_before) AS outside_before_rate,
    if(other_attempts_now = 0, 0, other_bad_now / other_attempts_now) AS outside_now_rate,
    expected, excess,
    excess / (excess + greatest(0, other_bad_now - other_expected)) AS excess_share,
    score
FROM judged
WHERE score > 0
ORDER BY score DESC, is_pair, cause;
