-- What was used in a window, in the fewest rows that still have one price each: whole hours, and minutes at the edges
-- of the window and in hours within which a price changes? (A part of other views.)
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: at (UTC, start of the hour or minute), tenant, job_type, lane, team (label of that name), instance_type,
--   region, outcome, attempts (count), run_ms, cpu_ms, vcpu_ms (vCPU time occupied), epoch (how many times a price has
--   changed before).
-- Example: SELECT team, sum(vcpu_ms) / 3600000 AS vcpu_hours
--          FROM usage_spans(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') GROUP BY team ORDER BY team
CREATE OR REPLACE VIEW usage_spans AS
WITH
    toStartOfMinute({from:DateTime64(6, 'UTC')}) AS start,
    toStartOfHour(start + INTERVAL 3599 SECOND) AS first_hour,
    toStartOfHour({to:DateTime64(6, 'UTC')}) AS end_hour,
    (
        SELECT arraySort(arrayDistinct(arrayConcat(groupArray(effective_from), groupArray(effective_to))))
        FROM price_book
    ) AS changes,
    arrayDistinct(arrayMap(moment -> toStartOfHour(moment), arrayFilter(moment -> moment != toStartOfHour(moment), changes)))
        AS split_hours
SELECT
    hour AS at, tenant, job_type, lane, team, instance_type, region, outcome, attempts, run_ms, cpu_ms, vcpu_ms,
    arrayCount(moment -> moment <= hour, changes) AS epoch
FROM cost_1h
WHERE hour >= first_hour AND hour < end_hour AND NOT has(split_hours, hour)
UNION ALL
SELECT
    minute AS at, tenant, job_type, lane, team, instance_type, region, outcome, attempts, run_ms, cpu_ms,
    if(cost_1m.vcpu_ms > 0, cost_1m.vcpu_ms, cost_1m.run_ms) AS vcpu_ms,
    arrayCount(moment -> moment <= minute, changes) AS epoch
FROM cost_1m
WHERE minute >= start AND minute < {to:DateTime64(6, 'UTC')}
  AND (first_hour >= end_hour OR minute < first_hour OR minute >= end_hour
       OR has(split_hours, toStartOfHour(minute)));
