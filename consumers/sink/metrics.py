"""The Prometheus metrics of a process's sinks, each with the label `topic`. They are read from the sinks' statuses when
Prometheus scrapes them."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from millstream.consumers.sink.status import SinkStatus
from millstream.listening import HttpGuard, PortTaken, guarded

REQUEST_TIMEOUT_S = 5.0
"""How long a client may stay connected without sending its request."""


@dataclass(frozen=True)
class SinkMetric:
    """One metric. `name` is without the suffix that its type adds."""

    name: str
    type: Literal["counter", "gauge"]
    meaning: str
    read: Callable[[SinkStatus], float]


METRICS = (
    SinkMetric(
        "millstream_sink_rows_inserted",
        "counter",
        "Records that are in ClickHouse; changes with each insert.",
        lambda status: status.rows_inserted,
    ),
    SinkMetric(
        "millstream_sink_records_rejected",
        "counter",
        "Records that ClickHouse cannot read; each is a dead letter.",
        lambda status: status.dead_records,
    ),
    SinkMetric(
        "millstream_sink_records_missing",
        "counter",
        "Offsets that were deleted or truncated before they were read; should be 0 for ever.",
        lambda status: status.records_missing,
    ),
    SinkMetric(
        "millstream_sink_batches_repeated",
        "counter",
        "Batches that another sink had announced and this one inserted again; changes after a crash or a rebalance.",
        lambda status: status.repeated_batches,
    ),
    SinkMetric(
        "millstream_sink_partitions_held",
        "gauge",
        "Partitions that wait at a record which cannot be inserted yet.",
        lambda status: len(status.held),
    ),
    SinkMetric(
        "millstream_sink_batches_cut",
        "counter",
        "Batches that were cut short because ClickHouse refused them for their size; the log names what to set.",
        lambda status: status.cut_batches,
    ),
    SinkMetric(
        "millstream_sink_batches_refused",
        "gauge",
        "Partitions whose batch ClickHouse refuses for its size at the moment.",
        lambda status: len(status.refused),
    ),
    SinkMetric(
        "millstream_sink_fields_left_out",
        "gauge",
        "Fields of newer records that are not inserted because the tables have no column for them.",
        lambda status: status.fields_left_out,
    ),
)


class SinkMetrics(Collector):
    """The metrics of sinks by their topics."""

    def __init__(self, statuses: Mapping[str, SinkStatus]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of every metric."""
        for metric in METRICS:
            family = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}[metric.type]
            found = family(metric.name, metric.meaning, labels=["topic"])
            for topic, status in self._statuses.items():
                found.add_metric([topic], metric.read(status))
            yield found


def serve_metrics(host: str, port: int, statuses: Mapping[str, SinkStatus], guard: HttpGuard | None = None) -> None:
    """Serve `/metrics` for as long as the process lives, to those whom `guard` lets ask; not at all when `port` is 0.
    Raises `PortTaken`."""
    if not port:
        return
    registry = CollectorRegistry()
    registry.register(SinkMetrics(statuses))
    pages = make_wsgi_app(registry)
    try:
        server = make_server(
            host,
            port,
            pages if guard is None else guarded(pages, guard),
            server_class=ThreadingWSGIServer,
            handler_class=_UnloggedRequest,
        )
    except OSError as error:
        raise PortTaken(("sink.metrics_host", "sink.metrics_port"), host, port, error) from error
    threading.Thread(target=server.serve_forever, name="millstream-metrics", daemon=True).start()


class _UnloggedRequest(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Prometheus asks every few seconds, which is not logged."""
