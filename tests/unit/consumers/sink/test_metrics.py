"""What Prometheus sees of a process's sinks."""

import socket
import urllib.request

from millstream.consumers.sink.metrics import METRICS, serve_metrics
from millstream.consumers.sink.status import SinkStatus
from tests.support.paths import ROOT


def test_every_metric_of_every_topic_is_served_and_follows_the_sinks_counts() -> None:
    events, alerts = SinkStatus(), SinkStatus()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve_metrics("127.0.0.1", port, {"jobs.events": events, "jobs.alerts": alerts})
    events.records_missing = 12
    alerts.held[3] = "offset 7: a newer schema"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'millstream_sink_records_missing_total{topic="jobs.events"} 12.0' in text
    assert 'millstream_sink_partitions_held{topic="jobs.alerts"} 1.0' in text
    assert all(metric.name in text for metric in METRICS)


def test_the_page_on_clickhouse_lists_every_metric() -> None:
    page = (ROOT / "docs" / "clickhouse.md").read_text("utf-8")
    assert all(f"| `{each.name}` | {each.type} | {each.meaning} |" in page for each in METRICS)
