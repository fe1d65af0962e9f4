-- Which tenants delay others: whose attempts ran while a tenant's jobs waited?
--
-- The window is cut into 200 slices. In each slice and lane the time that a tenant's jobs waited is shared out over the
-- tenants whose attempts ran there, in proportion to how long they ran.
--
-- Parameters: from, to (UTC, to is exclusive; attempts whose outcome is in it).
-- Columns: lane (where both were), victim (tenant that waited), culprit (tenant that ran meanwhile), waited_s (waiting
--   of the victim that falls to the culprit), share (of the victim's waiting on the lane), busy_share (of the lane's
--   run time that is the culprit's). Most waiting first.
-- Example: SELECT * FROM rca_blame(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') WHERE victim != culprit
CREATE OR REPLACE VIEW rca_blame AS
WITH
    toUnixTimestamp64Milli({from:DateTime64(6, 'UTC')}) AS window_start,
    greatest(1, (toUnixTimestamp64Milli({to:DateTime64(6, 'UTC')}) - window_start) / 200) AS width,
    intervals AS
    (
        SELECT lane, tenant, piece.1 AS what, greatest(0, piece.2 - window_start) AS begun, piece.3 - window_start AS ended
        FROM job_attempts
        ARRAY JOIN [
            ('wait', toUnixTimestamp64Milli(assumeNotNull(started_at)) - ifNull(wait_ms, 0),
             toFloat64(toUnixTimestamp64Milli(assumeNotNull(started_at)))),
            ('run', toFloat64(toUnixTimestamp64Milli(assumeNotNull(started_at))),
             toFloat64(toUnixTimestamp64Milli(finished_at)))] AS piece
        WHERE finished_at >= {from:DateTime64(6, 'UTC')} AND finished_at < {to:DateTime64(6, 'UTC')}
          AND started_at IS NOT NULL AND piece.3 > window_start
    ),
    slices AS
    (
        SELECT
            lane, tenant, slice,
            sumIf(least(ended, (slice + 1) * width) - greatest(begun, slice * width), what = 'wait') AS waited,
            sumIf(least(ended, (slice + 1) * width) - greatest(begun, slice * width), what = 'run') AS ran
        FROM intervals
        ARRAY JOIN range(toUInt32(least(199, intDiv(begun, width))), toUInt32(least(199, intDiv(ended, width))) + 1) AS slice
        GROUP BY lane, tenant, slice
    ),
    pairs AS
    (
        SELECT
            waiting.lane AS lane, waiting.tenant AS victim, running.tenant AS culprit,
            sum(waiting.waited * running.ran / running.all_ran) / 1000 AS waited_s
        FROM slices AS waiting
        INNER JOIN
        (
            SELECT lane, tenant, slice, ran, sum(ran) OVER (PARTITION BY lane, slice) AS all_ran FROM slices
        ) AS running ON waiting.lane = running.lane AND waiting.slice = running.slice
        WHERE waiting.waited > 0 AND running.ran > 0
        GROUP BY lane, victim, culprit
    )
SELECT
    pairs.lane AS lane, victim, culprit, waited_s,
    waited_s / sum(waited_s) OVER (PARTITION BY lane, victim) AS share,
    busy.share AS busy_share
FROM pairs
INNER JOIN
(
    SELECT lane, tenant, sum(ran) / sum(sum(ran)) OVER (PARTITION BY lane) AS share FROM slices GROUP BY lane, tenant
) AS busy ON busy.lane = pairs.lane AND busy.tenant = pairs.culprit
ORDER BY waited_s DESC, lane, victim, culprit;
