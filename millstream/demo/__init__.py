"""The demonstration: a workload of several tenants, run end to end, with the results counted at every source."""
