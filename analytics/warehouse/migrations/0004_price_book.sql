-- price_book: what a machine costs, and from when to when. Corrected by inserting the same key again (the newest row
-- wins), changed by a row with a later effective_from.
--
-- The rows below are list prices as examples, so that cost works from the first minute: replace them with your own.
-- Region '' stands for every region that has no row of its own, instance type 'default' for every unknown machine.
CREATE TABLE IF NOT EXISTS price_book
(
    instance_type    LowCardinality(String),
    region           LowCardinality(String),
    purchase_option  LowCardinality(String) DEFAULT 'on_demand',
    effective_from   DateTime('UTC') DEFAULT toDateTime(0, 'UTC'),
    effective_to     DateTime('UTC') DEFAULT toDateTime('2106-01-01 00:00:00', 'UTC') COMMENT 'Exclusive',
    currency         LowCardinality(String) DEFAULT 'USD',
    price_per_hour   Float64 COMMENT 'Of the whole machine',
    vcpus            Float64,
    memory_gib       Float64 DEFAULT 0,
    written_at       DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (instance_type, region, purchase_option, effective_from)
SETTINGS non_replicated_deduplication_window = 100;

INSERT INTO price_book (instance_type, region, price_per_hour, vcpus, memory_gib)
SETTINGS insert_deduplication_token = 'example prices'
VALUES
    ('default', '', 0.0960, 2, 8),
    ('m5.large', '', 0.0960, 2, 8),
    ('m5.xlarge', '', 0.1920, 4, 16),
    ('m6i.large', '', 0.0960, 2, 8),
    ('m6i.xlarge', '', 0.1920, 4, 16),
    ('c5.large', '', 0.0850, 2, 4),
    ('c5.xlarge', '', 0.1700, 4, 8),
    ('c6i.xlarge', '', 0.1700, 4, 8),
    ('r5.large', '', 0.1260, 2, 16),
    ('t3.medium', '', 0.0416, 2, 4),
    ('n2-standard-2', '', 0.0971, 2, 8),
    ('n2-standard-4', '', 0.1942, 4, 16),
    ('e2-standard-2', '', 0.0670, 2, 8),
    ('Standard_D2s_v5', '', 0.0960, 2, 8),
    ('Standard_D4s_v5', '', 0.1920, 4, 16);
