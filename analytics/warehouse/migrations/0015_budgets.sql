-- budgets: what a tenant may cost in a calendar month (UTC). Corrected by inserting the same key again.
CREATE TABLE IF NOT EXISTS budgets
(
    tenant         LowCardinality(String),
    currency       LowCardinality(String) DEFAULT 'USD',
    monthly_cost   Float64 COMMENT 'In that currency',
    alert_share    Float64 DEFAULT 0.8 COMMENT 'An alert is told from this share on, and a critical one from 1',
    written_at     DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (tenant, currency)
SETTINGS non_replicated_deduplication_window = 10000;
