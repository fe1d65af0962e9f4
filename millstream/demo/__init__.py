"""The demonstration: a workload of several tenants, run end to end and counted at every source."""
