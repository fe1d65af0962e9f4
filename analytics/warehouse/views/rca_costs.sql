-- What did attempts cost in each step, in all and by lane, tenant and type?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive); step_seconds (width of a step, whole minutes).
-- Columns: step (its start), dimension ('' for all jobs, 'lane', 'tenant', 'job_type'), value (of the dimension),
--   attempts (that ended), cost (see usage_cost), wasted (cost of attempts that did not succeed, in the same currency).
-- Example: SELECT * FROM rca_costs(from='2026-11-24', to='2026-11-25', step_seconds=300) WHERE dimension = 'tenant'
CREATE OR REPLACE VIEW rca_costs AS
SELECT
    toDateTime(intDiv(toUnixTimestamp(minute), {step_seconds:UInt32}) * {step_seconds:UInt32}, 'UTC') AS step,
    scope.1 AS dimension,
    scope.2 AS value,
    sum(spent.attempts) AS attempts,
    sum(spent.cost) AS cost,
    sumIf(spent.cost, spent.wasted) AS wasted
FROM usage_cost(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS spent
ARRAY JOIN [('', ''), ('lane', lane), ('tenant', tenant), ('job_type', job_type)] AS scope
GROUP BY step, dimension, value
ORDER BY dimension, value, step;
