-- Which value of one dimension, or of two together, explains that more attempts were bad?
--
-- Every value and every pair of values is a suspect. What it is expected to do in the incident is its own rate of the
-- baseline, shrunk by the weight of one bad attempt towards that of all attempts, and for a pair towards the worst of that
-- and of its two values' rates. So a new release is expected to be like the rest and to fail a bad type as often as others
-- did, and a pair never scores above a value that covers the same attempts. The score is the Poisson log-likelihood ratio
-- of its bad attempts against that (Kulldorff 1997), less the one of all other attempts (what it leaves unexplained),
-- less 1 for a second dimension. Suspects that cover the same attempts score alike. Among N suspects chance reaches about
-- ln N: a score below ln N + 4 means little. Without a baseline there is no answer. `millstream rca explain` looks at
-- three dimensions and knows how much rates wander by themselves.
--
-- Parameters: from, to (the incident; UTC, to is exclusive; by the time of the outcome); baseline_from, baseline_to
--   (the time to compare with; what is in both counts as the incident's); metric ('failure_rate' for failed and timed
--   out, 'slow' for those that ran longer than slow_ms); slow_ms (milliseconds; 'failure_rate' does not read it).
-- Columns: cause (such as tenant=acme, host=host-1), bad_before (its bad attempts in the baseline), attempts_before (its
--   attempts in the baseline), bad_now (its bad attempts in the incident), attempts_now (its attempts in the incident),
--   inside_before_rate (bad_before of attempts_before), inside_now_rate (bad_now of attempts_now), outside_before_rate
--   (of all other attempts in the baseline), outside_now_rate (of all other attempts in the incident), expected (bad
--   attempts in the incident at the baseline's rates), excess (bad_now beyond the expected), excess_share (of the whole
--   excess; 1 when the rest did not rise), score (nats). Best score first; only scores above 0.
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
            countIf(now) AS leaf_attempts_now,
            countIf(now AND bad) AS leaf_bad_now,
            countIf(NOT now) AS leaf_attempts_before,
            countIf(NOT now AND bad) AS leaf_bad_before
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
    suspects AS
    (
        SELECT
            names[first] AS one,
            names[second] AS other,
            one != other AS is_pair,
            any(second = 1) AS is_tenant,
            sum(leaf_attempts_now) AS attempts_now,
            sum(leaf_bad_now) AS bad_now,
            sum(leaf_attempts_before) AS attempts_before,
            sum(leaf_bad_before) AS bad_before
        FROM named
        ARRAY JOIN arrayEnumerate(names) AS first
        ARRAY JOIN range(first, length(names) + 1) AS second
        GROUP BY one, other
    ),
    among_all AS
    (
        SELECT
            *,
            sumIf(attempts_now, is_tenant) OVER () - attempts_now AS rest_attempts_now,
            sumIf(bad_now, is_tenant) OVER () - bad_now AS rest_bad_now,
            sumIf(attempts_before, is_tenant) OVER () - attempts_before AS rest_attempts_before,
            sumIf(bad_before, is_tenant) OVER () - bad_before AS rest_bad_before,
            (bad_before + rest_bad_before + 1) / (attempts_before + rest_attempts_before + 1) AS rate_of_all,
            (bad_before + 1) / (attempts_before + 1 / rate_of_all) AS rate
        FROM suspects
    ),
    among_relatives AS
    (
        SELECT
            *,
            greatest(
                rate_of_all,
                maxIf(rate, NOT is_pair) OVER (PARTITION BY one),
                maxIf(rate, NOT is_pair) OVER (PARTITION BY other)
            ) AS rate_of_worst
        FROM among_all
    ),
    judged AS
    (
        SELECT
            *,
            attempts_now * if(is_pair, (bad_before + 1) / (attempts_before + 1 / rate_of_worst), rate) AS expected,
            rest_attempts_now * (rest_bad_before + 1) / (rest_attempts_before + 1 / rate_of_all) AS rest_expected,
            evidence(bad_now, expected) - evidence(rest_bad_now, rest_expected) - is_pair AS score
        FROM among_relatives
        WHERE bad_now > 0
    )
SELECT
    if(is_pair, concat(one, ', ', other), one) AS cause,
    bad_before, attempts_before, bad_now, attempts_now,
    if(attempts_before = 0, 0, bad_before / attempts_before) AS inside_before_rate,
    bad_now / attempts_now AS inside_now_rate,
    if(rest_attempts_before = 0, 0, rest_bad_before / rest_attempts_before) AS outside_before_rate,
    if(rest_attempts_now = 0, 0, rest_bad_now / rest_attempts_now) AS outside_now_rate,
    expected,
    bad_now - expected AS excess,
    excess / (excess + greatest(0, rest_bad_now - rest_expected)) AS excess_share,
    score
FROM judged
WHERE score > 0
ORDER BY score DESC, is_pair, cause;
