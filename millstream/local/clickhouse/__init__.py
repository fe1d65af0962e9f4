"""The ClickHouse engine (chDB) in a process of its own, behind ClickHouse's HTTP interface."""
