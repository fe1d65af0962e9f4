"""The Prometheus metrics of a process's sinks, each with the label `topic`. They are read from the sinks' statuses when
Prometheus scrapes them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from millstream.consumers.sink.status import SinkStatus

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
