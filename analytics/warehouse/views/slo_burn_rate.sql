-- How fast is the error budget burning, and does it need action?
--
-- Two objectives with one target: jobs succeed (the final outcome; cancelled jobs do not count), and jobs are fast
-- (submission to the final outcome within `threshold_ms`). A burn rate of 1 spends the budget exactly; the
-- alerts are those of two windows at once: 14.4 over 1 h and 5 min, 6 over 6 h and 30 min, 1 over 3 d and 6 h.
--
-- Parameters: to (UTC, end of all windows, exclusive, whole minutes); by ('' for all, or 'lane', 'tenant', 'job_type');
--   objective (target share of good jobs, such as 0.99; 1 counts as all but one in a billion); threshold_ms (a job that
--   takes longer is slow).
-- Columns: dimension (value of `by`), window_s (300, 1800, 3600, 21600, 86400, 259200; from 21600 on in whole hours),
--   jobs (with their final outcome), failed (jobs), failed_share (0 to 1), slow_share (0 to 1; interpolated between 20
--   quantiles that are within 1 %), failed_burn, slow_burn (share for each share that the objective allows), alert
--   ('page', 'ticket' or empty).
-- Source of the windows: Google, The Site Reliability Workbook, chapter 5, table 5-8.
-- Example: SELECT * FROM slo_burn_rate(to='2026-11-24 10:40:00', by='', objective=0.99, threshold_ms=60000)
CREATE OR REPLACE VIEW slo_burn_rate AS
WITH
    toStartOfMinute({to:DateTime64(6, 'UTC')}) AS end,
    [0.01, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995, 0.999, 0.9999]
        AS levels,
    slices AS
    (
        SELECT
            multiIf(minute >= end - INTERVAL 5 MINUTE, 300, minute >= end - INTERVAL 30 MINUTE, 1800, 3600) AS slice_s,
            [300, 1800, 3600] AS windows,
            multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
            sum(attempts) AS jobs,
            quantilesDDMergeState(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles) AS durations
        FROM latency_1m
        WHERE stage = 'total' AND minute >= end - INTERVAL 1 HOUR AND minute < end
        GROUP BY slice_s, dimension
        UNION ALL
        SELECT
            multiIf(
                hour >= toStartOfHour(end - INTERVAL 6 HOUR), 21600,
                hour >= toStartOfHour(end - INTERVAL 1 DAY), 86400,
                259200
            ) AS slice_s,
            [21600, 86400, 259200] AS windows,
            multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
            sum(attempts) AS jobs,
            quantilesDDMergeState(0.01, 0.5, 0.9, 0.95, 0.99)(quantiles) AS durations
        FROM latency_1h
        WHERE stage = 'total' AND hour >= toStartOfHour(end - INTERVAL 3 DAY) AND hour < end
        GROUP BY slice_s, dimension
    ),
    measured AS
    (
        SELECT
            arrayJoin(arrayFilter(w -> w >= slice_s, windows)) AS window_s,
            dimension,
            sum(slices.jobs) AS jobs,
            quantilesDDMerge(
                0.01, 0.01, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995,
                0.999, 0.9999
            )(slices.durations) AS durations
        FROM slices
        GROUP BY window_s, dimension
    ),
    ended AS
    (
        SELECT
            arrayJoin(arrayFilter(w -> minute >= end - toIntervalSecond(w), [300, 1800, 3600])) AS window_s,
            multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
            sumIf(events, kind = 'succeeded') AS succeeded,
            sumIf(events, kind = 'cancelled') AS cancelled
        FROM throughput_1m
        WHERE kind IN ('succeeded', 'cancelled') AND minute >= end - INTERVAL 1 HOUR AND minute < end
        GROUP BY window_s, dimension
        UNION ALL
        SELECT
            arrayJoin(arrayFilter(w -> hour >= toStartOfHour(end - toIntervalSecond(w)), [21600, 86400, 259200])) AS window_s,
            multiIf({by:String} = 'lane', toString(lane), {by:String} = 'tenant', toString(tenant),
                {by:String} = 'job_type', toString(job_type), '') AS dimension,
            sumIf(events, kind = 'succeeded') AS succeeded,
            sumIf(events, kind = 'cancelled') AS cancelled
        FROM throughput_1h
        WHERE kind IN ('succeeded', 'cancelled') AND hour >= toStartOfHour(end - INTERVAL 3 DAY) AND hour < end
        GROUP BY window_s, dimension
    ),
    shares AS
    (
        SELECT
            measured.dimension AS dimension, measured.window_s AS window_s,
            measured.jobs AS jobs,
            greatest(0, toInt64(measured.jobs) - toInt64(ended.succeeded) - toInt64(ended.cancelled)) AS failed,
            failed / greatest(1, measured.jobs - ended.cancelled) AS failed_share,
            arrayFirstIndex(duration -> duration > {threshold_ms:Float64}, durations) AS above,
            multiIf(
                above = 0, 0,
                above = 1, 1 - levels[1] * {threshold_ms:Float64} / durations[1],
                1 - levels[above - 1] - (levels[above] - levels[above - 1])
                    * ({threshold_ms:Float64} - durations[above - 1]) / (durations[above] - durations[above - 1])
            ) AS slow_share
        FROM measured
        LEFT JOIN ended ON measured.window_s = ended.window_s AND measured.dimension = ended.dimension
    ),
    burning AS
    (
        SELECT
            *,
            greatest(1 - {objective:Float64}, 1e-9) AS allowed_share,
            failed_share / allowed_share AS failed_burn,
            slow_share / allowed_share AS slow_burn,
            greatest(failed_burn, slow_burn) AS worst
        FROM shares
    )
SELECT
    dimension, window_s, jobs, failed, failed_share, slow_share, failed_burn, slow_burn,
    multiIf(
        window_s = 3600 AND worst >= 14.4 AND maxIf(worst, window_s = 300) OVER (PARTITION BY dimension) >= 14.4, 'page',
        window_s = 21600 AND worst >= 6 AND maxIf(worst, window_s = 1800) OVER (PARTITION BY dimension) >= 6, 'page',
        window_s = 259200 AND worst >= 1 AND maxIf(worst, window_s = 21600) OVER (PARTITION BY dimension) >= 1, 'ticket',
        ''
    ) AS alert
FROM burning
ORDER BY dimension, window_s;
