-- What are the charges of each day, in the columns of FOCUS?
--
-- FOCUS (FinOps Open Cost and Usage Specification) 1.2. A Usage row is the work of a tenant, job type and team on one
-- kind of machine; BilledCost and the other costs are equal, because the price book holds the prices paid, and has no
-- discounts apart from the purchase option. Idle time is not a charge of its own here: see idle_cost.
--
-- Parameters: from, to (UTC, whole minutes, to is exclusive; by the minute in which the attempt finished).
-- Columns: BilledCost (currency), BillingAccountId, BillingAccountName (who runs the platform), BillingAccountType,
--   BillingCurrency, BillingPeriodEnd, BillingPeriodStart (UTC, the calendar month), CapacityReservationId (none),
--   ChargeCategory (Usage), ChargeClass (NULL: no corrections), ChargeDescription, ChargeFrequency, ChargePeriodEnd,
--   ChargePeriodStart (UTC, the day), CommitmentDiscountCategory, CommitmentDiscountId, CommitmentDiscountName,
--   CommitmentDiscountStatus, CommitmentDiscountType (none), ConsumedQuantity (vCPU hours), ConsumedUnit,
--   ContractedCost (currency), ContractedUnitPrice (currency), EffectiveCost (currency), InvoiceId (none: nothing is
--   invoiced), InvoiceIssuerName (who runs the platform), ListCost (currency), ListUnitPrice (currency),
--   PricingCategory (by the purchase option of the price), PricingCurrency, PricingQuantity (vCPU hours), PricingUnit,
--   ProviderName, PublisherName (who runs the platform), RegionId, RegionName (of the machine), ResourceId,
--   ResourceName (the job type), ResourceType,
--   ServiceCategory, ServiceName, ServiceSubcategory, SkuId, SkuPriceId (instance type), SubAccountId, SubAccountName
--   (the tenant), SubAccountType, Tags (team and outcome, as JSON).
-- Example: SELECT ChargePeriodStart, SubAccountId, ResourceId, ConsumedQuantity, BilledCost, BillingCurrency, Tags
--          FROM focus_charges(from='2026-11-24', to='2026-11-25') LIMIT 3
CREATE OR REPLACE VIEW focus_charges AS
SELECT
    sum(usage.cost) AS BilledCost,
    'millstream' AS BillingAccountId,
    'Millstream' AS BillingAccountName,
    'Platform' AS BillingAccountType,
    currency AS BillingCurrency,
    toDateTime(toStartOfMonth(day) + INTERVAL 1 MONTH, 'UTC') AS BillingPeriodEnd,
    toDateTime(toStartOfMonth(day), 'UTC') AS BillingPeriodStart,
    CAST(NULL, 'Nullable(String)') AS CapacityReservationId,
    'Usage' AS ChargeCategory,
    CAST(NULL, 'Nullable(String)') AS ChargeClass,
    concat('Job type ', toString(job_type), ' on ', toString(instance_type), ', ', toString(outcome)) AS ChargeDescription,
    'Usage-Based' AS ChargeFrequency,
    toDateTime(day + INTERVAL 1 DAY, 'UTC') AS ChargePeriodEnd,
    toDateTime(day, 'UTC') AS ChargePeriodStart,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountCategory,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountId,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountName,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountStatus,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountType,
    sum(usage.slot_hours) AS ConsumedQuantity,
    'vCPU-Hours' AS ConsumedUnit,
    sum(usage.cost) AS ContractedCost,
    unit_price AS ContractedUnitPrice,
    sum(usage.cost) AS EffectiveCost,
    CAST(NULL, 'Nullable(String)') AS InvoiceId,
    'Millstream' AS InvoiceIssuerName,
    sum(usage.cost) AS ListCost,
    unit_price AS ListUnitPrice,
    multiIf(
        purchase_option = 'on_demand', 'Standard',
        purchase_option IN ('spot', 'preemptible'), 'Dynamic',
        match(purchase_option, '^(reserved|committed|savings_plan)'), 'Committed',
        'Other'
    ) AS PricingCategory,
    currency AS PricingCurrency,
    sum(usage.slot_hours) AS PricingQuantity,
    'vCPU-Hours' AS PricingUnit,
    'Millstream' AS ProviderName,
    'Millstream' AS PublisherName,
    nullIf(toString(region), '') AS RegionId,
    nullIf(toString(region), '') AS RegionName,
    toString(job_type) AS ResourceId,
    toString(job_type) AS ResourceName,
    'Job type' AS ResourceType,
    'Compute' AS ServiceCategory,
    'Millstream Workers' AS ServiceName,
    'Other (Compute)' AS ServiceSubcategory,
    toString(instance_type) AS SkuId,
    concat(toString(instance_type), '@', toString(unit_price)) AS SkuPriceId,
    toString(tenant) AS SubAccountId,
    toString(tenant) AS SubAccountName,
    'Tenant' AS SubAccountType,
    toJSONString(map('team', toString(team), 'outcome', toString(outcome), 'lane', toString(lane))) AS Tags
FROM priced_usage(from = {from:DateTime64(6, 'UTC')}, to = {to:DateTime64(6, 'UTC')}) AS usage
GROUP BY day, currency, tenant, job_type, team, lane, instance_type, region, outcome, purchase_option, unit_price
ORDER BY day, tenant, job_type, team, lane, instance_type, region, outcome;
