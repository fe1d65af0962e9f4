"""What Prometheus sees of a process's sinks."""

import socket
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.health import SinkHealth, health_server
from millstream.consumers.sink.metrics import METRICS
from millstream.consumers.sink.status import SinkStatus
from millstream.listening import PortTaken, UnprotectedListener
from tests.support.paths import ROOT


def test_every_metric_of_every_topic_is_served_and_follows_the_sinks_counts(stack: ExitStack) -> None:
    events, alerts = SinkStatus(), SinkStatus()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    health = SinkHealth()
    health.started({"jobs.events": events, "jobs.alerts": alerts}, lambda: True)
    stack.enter_context(health_server("127.0.0.1", port, health))
    events.records_missing = 12
    alerts.held[3] = "offset 7: a newer schema"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'millstream_sink_records_missing_total{topic="jobs.events"} 12.0' in text
    assert 'millstream_sink_partitions_held{topic="jobs.alerts"} 1.0' in text
    assert all(metric.name in text for metric in METRICS)


def test_the_sinks_metrics_need_their_token_and_beyond_loopback_a_token_or_an_explicit_yes(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = SinkConfig(health_port=port, metrics_token=SecretStr("s3cret"))
    stack.enter_context(health_server("127.0.0.1", port, SinkHealth(), config.http_guard()))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": "Bearer s3cret"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5) as answer:
        assert answer.status == 200, "probes need no token"
    with pytest.raises(PortTaken, match=r"sink\.health_port"):
        stack.enter_context(health_server("127.0.0.1", port, SinkHealth()))
    with pytest.raises(UnprotectedListener, match=r"sink\.metrics_token.*sink\.metrics_open"):
        SinkConfig(health_port=port, health_host="0.0.0.0").http_guard()
    assert SinkConfig(health_port=port, health_host="0.0.0.0", metrics_open=True).http_guard() is not None


def test_the_page_on_clickhouse_lists_every_metric() -> None:
    page = (ROOT / "docs" / "clickhouse.md").read_text("utf-8")
    assert all(f"| `{each.name}` | {each.type} | {each.meaning} |" in page for each in METRICS)
