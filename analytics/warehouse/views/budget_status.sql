-- How much of its budget has each tenant spent this month, and what is the forecast for its end?
--
-- Parameters: at (UTC; the month up to this moment, whole minutes).
-- Columns: tenant, currency, budget (of the calendar month), spent (since its start), spent_share (of the budget),
--   month_share (of the month that has passed, 0 to 1), forecast (spent at the end of the month at the same rate),
--   alert_share (share from which on an alert is sent), status ('over', 'warning', 'ok'; 'other currency' when the prices
--   are in another one, so that they cannot be compared), unpriced_hours (vCPU hours of this month that no price covers and
--   that are therefore not in `spent`). Only tenants with a budget, fullest first.
-- The price of an attempt: see priced_usage.
-- Example: SELECT * FROM budget_status(at='2026-11-24 11:00:00')
CREATE OR REPLACE VIEW budget_status AS
WITH
    toStartOfMonth({at:DateTime64(6, 'UTC')}) AS month,
    assumeNotNull((SELECT argMax(toString(currency), written_at) FROM price_book)) AS book_currency,
    spent AS
    (
        SELECT tenant, currency, sum(usage.cost) AS cost, sum(usage.unpriced_hours) AS hours
        FROM priced_usage(
            from = toDateTime64(toStartOfMonth({at:DateTime64(6, 'UTC')}), 6, 'UTC'), to = {at:DateTime64(6, 'UTC')}
        ) AS usage
        GROUP BY tenant, currency
    )
SELECT
    budgets.tenant AS tenant, budgets.currency AS currency, budgets.monthly_cost AS budget,
    spent.cost AS spent,
    if(budget > 0, spent / budget, 0) AS spent_share,
    dateDiff('second', toDateTime(month, 'UTC'), toDateTime({at:DateTime64(6, 'UTC')}, 'UTC'))
        / dateDiff('second', toDateTime(month, 'UTC'), toDateTime(month + INTERVAL 1 MONTH, 'UTC')) AS month_share,
    if(month_share > 0, spent / month_share, 0) AS forecast,
    budgets.alert_share AS alert_share,
    multiIf(
        budgets.currency != book_currency, 'other currency',
        spent_share >= 1, 'over', spent_share >= budgets.alert_share, 'warning', 'ok'
    ) AS status,
    spent.hours AS unpriced_hours
FROM (SELECT * FROM budgets FINAL) AS budgets
LEFT JOIN spent ON budgets.tenant = spent.tenant AND budgets.currency = spent.currency
ORDER BY spent_share DESC, tenant;
