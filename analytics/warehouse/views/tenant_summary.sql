-- What are the figures of each tenant?
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive).
-- Columns: tenant, submitted (jobs), finished (jobs with their final outcome), attempts (with an outcome), failure_rate
--   (failed and timed out of the attempts, 0 to 1), retries (scheduled), dead_lettered (jobs given up), wait_p95_ms,
--   run_p95_ms, total_p95_ms (within 1 %), cost, wasted_cost (attempts that did not succeed), currency,
--   unpriced_hours (vCPU hours that no price covers; their cost counts as 0). Most jobs first.
-- Example: SELECT tenant, submitted, failure_rate, wait_p95_ms, total_p95_ms, cost
--          FROM tenant_summary(from='2026-11-24 10:00:00', to='2026-11-24 11:00:00') LIMIT 3
CREATE OR REPLACE VIEW tenant_summary AS
WITH
    flow AS
    (
        SELECT
            tenant,
            sumIf(events, kind = 'submitted') AS submitted,
            sumIf(events, kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')) AS attempts,
            sumIf(events, kind IN ('failed', 'timed_out')) AS failed,
            sumIf(events, kind = 'retry_scheduled') AS retries,
            sumIf(events, kind = 'dead_lettered') AS dead_lettered
        FROM throughput_spans(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')})
        GROUP BY tenant
    ),
    by_stage AS
    (
        SELECT
            tenant, stage,
            sum(spans.attempts) AS attempts,
            quantileDDMerge(0.01, 0.95)(quantiles) AS p95_ms
        FROM latency_spans(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS spans
        GROUP BY tenant, stage
    ),
    durations AS
    (
        SELECT
            tenant,
            sumIf(by_stage.attempts, stage = 'total') AS finished,
            maxIf(p95_ms, stage = 'queue_wait') AS wait_p95_ms,
            maxIf(p95_ms, stage = 'run') AS run_p95_ms,
            maxIf(p95_ms, stage = 'total') AS total_p95_ms
        FROM by_stage
        GROUP BY tenant
    ),
    money AS
    (
        SELECT
            tenant,
            sum(usage.cost) AS cost,
            sumIf(usage.cost, outcome != 'succeeded') AS wasted_cost,
            any(usage.currency) AS currency,
            sum(usage.unpriced_hours) AS unpriced_hours
        FROM priced_usage(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS usage
        GROUP BY tenant
    )
SELECT
    flow.tenant AS tenant, submitted, finished, flow.attempts AS attempts,
    if(flow.attempts > 0, failed / flow.attempts, 0) AS failure_rate,
    retries, dead_lettered, wait_p95_ms, run_p95_ms, total_p95_ms, money.cost AS cost, money.wasted_cost AS wasted_cost,
    toString(money.currency) AS currency, money.unpriced_hours AS unpriced_hours
FROM flow
LEFT JOIN durations ON flow.tenant = durations.tenant
LEFT JOIN money ON flow.tenant = money.tenant
ORDER BY submitted DESC, tenant;
