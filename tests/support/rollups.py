"""The number of events that each table counts."""

from clickhouse_connect.driver.client import Client

OUTCOME = "kind IN ('succeeded', 'failed', 'timed_out', 'cancelled')"


def counts(client: Client) -> dict[str, int]:
    """Rows, or events counted, in each table; those of the rollups are sums over their rows."""
    names = ("raw", "distinct", "outcomes", "attempts", "throughput", "latency", "cost")
    row = client.query(
        f"""
        SELECT (SELECT count() FROM job_events),
               (SELECT uniqExact(kafka_partition, kafka_offset) FROM job_events),
               (SELECT countIf({OUTCOME}) FROM job_events),
               (SELECT count() FROM job_attempts),
               (SELECT sum(events) FROM throughput_1m),
               (SELECT sumIf(attempts, stage = 'run') FROM latency_1m),
               (SELECT sum(attempts) FROM cost_1m)
        """
    ).result_rows[0]
    return dict(zip(names, map(int, row), strict=True))
