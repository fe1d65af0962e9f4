"""What a worker tells Prometheus: every metric with its unit, its labels, and when it moves.

Names follow OpenTelemetry's conventions for messaging where there is one. The counts are plain numbers that the poll
thread adds to, a fraction of a microsecond each; they become samples only when somebody asks.
"""

import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from millstream.consumers.worker.execution import Execution

if TYPE_CHECKING:
    from millstream.consumers.worker.executor import Executor

Labels = TypeVar("Labels", bound=tuple[str, ...])

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
MOST_TENANTS = 200

METRICS = {
    "messaging_client_consumed_messages": "Requests taken from the lanes; moves when a record is taken.",
    "millstream_job_outcomes": "Attempts that ended, by job type and kind; moves when an outcome is collected.",
    "millstream_job_wait_seconds": "From due to started, by job type; moves when an attempt ends.",
    "messaging_process_duration_seconds": "Run time of the handler, by job type; moves when an attempt ends.",
    "millstream_job_cpu_seconds": "CPU time of the handlers, by job type; moves when an attempt ends.",
    "millstream_jobs_in_flight": "Attempts that run now.",
    "millstream_jobs_queued": "Jobs taken that wait for a place, by tenant, the longest queues first.",
    "millstream_event_loop_late_seconds": "For how long a coroutine has been blocking the event loop; 0 is well.",
    "millstream_concurrency_limit": "Jobs that may run at once on the event loop now.",
    "millstream_overflow_records": "Records moved to an overflow topic because their tenant was over its share.",
    "millstream_transactions_aborted": "Transactions that were aborted and written again.",
    "millstream_transaction_duration_seconds": "From beginning to committed; moves with each transaction.",
    "millstream_workers_fenced": "Silent workers whose transaction this one ended.",
    "millstream_worker_restarts": "Times this worker lost its transactional producer and started over.",
    "messaging_kafka_consumer_lag": "Records of a partition behind this worker, as librdkafka saw it last.",
    "messaging_kafka_broker_rtt_seconds": "Mean round trip of a lane's consumer to a broker, lately.",
}
"""Every metric of a worker, without the suffix that its type gives it."""


class Histogram:
    """Counts of durations in seconds by bound."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts as Prometheus wants them."""
        rows, below = [], 0
        for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], self.counts, strict=True):
            below += count
            rows.append((bound, float(below)))
        return rows


class Metrics(Collector):
    """The counts of one worker."""

    def __init__(self) -> None:
        self.taken = 0
        self.moved = 0
        self.aborted = 0
        self.fenced = 0
        self.restarts = 0
        self.limit = 0
        self.loop_late_s = 0.0
        self.executor: Executor | None = None
        self.transactions = Histogram()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._waits: dict[str, Histogram] = {}
        self._runs: dict[str, Histogram] = {}
        self._cpu_s: Counter[str] = Counter()
        self._lag: dict[str, dict[tuple[str, str], float]] = {}
        self._rtt_s: dict[str, dict[str, float]] = {}

    def ended(self, execution: Execution) -> None:
        """Count an attempt that has its outcome."""
        name = execution.job_type
        assert execution.outcome is not None
        self._outcomes[name, execution.outcome.kind] += 1
        waits = self._waits.get(name)
        if waits is None:
            waits = self._waits[name] = Histogram()
            self._runs[name] = Histogram()
        waits.observe(execution.wait_ms / 1000)
        self._runs[name].observe(execution.run_ms / 1000)
        self._cpu_s[name] += execution.cpu_ns / 1e9  # type: ignore[assignment]

    def timed_transaction(self, began: float) -> None:
        """Count a transaction that began at this moment of the monotonic clock."""
        self.transactions.observe(time.monotonic() - began)

    def read_statistics(self, consumer: str, text: str) -> None:
        """Take lag and round trips from the statistics of one of the worker's consumers."""
        statistics = json.loads(text)
        self._lag[consumer] = {
            (topic, number): partition["consumer_lag"]
            for topic, about in statistics.get("topics", {}).items()
            for number, partition in about["partitions"].items()
            if partition.get("consumer_lag", -1) >= 0
        }
        self._rtt_s[consumer] = {
            broker["nodename"]: broker["rtt"]["avg"] / 1e6
            for broker in statistics.get("brokers", {}).values()
            if broker.get("rtt", {}).get("cnt")
        }

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """What Prometheus asks for."""
        yield _counter("messaging_client_consumed_messages", [], {(): self.taken})
        yield _counter("millstream_job_outcomes", ["job_type", "kind"], self._outcomes)
        yield _histogram("millstream_job_wait_seconds", ["job_type"], {(k,): v for k, v in self._waits.items()})
        yield _histogram("messaging_process_duration_seconds", ["job_type"], {(k,): v for k, v in self._runs.items()})
        yield _counter("millstream_job_cpu_seconds", ["job_type"], {(k,): v for k, v in self._cpu_s.items()})
        yield _counter("millstream_overflow_records", [], {(): self.moved})
        yield _counter("millstream_transactions_aborted", [], {(): self.aborted})
        yield _counter("millstream_workers_fenced", [], {(): self.fenced})
        yield _counter("millstream_worker_restarts", [], {(): self.restarts})
        yield _histogram("millstream_transaction_duration_seconds", [], {(): self.transactions})
        yield _gauge("millstream_event_loop_late_seconds", [], {(): self.loop_late_s})
        yield _gauge("millstream_concurrency_limit", [], {(): self.limit})
        lag = {place: records for of_one in list(self._lag.values()) for place, records in of_one.items()}
        yield _gauge("messaging_kafka_consumer_lag", ["topic", "partition"], lag)
        rtt_s = {(consumer, node): s for consumer, of_one in list(self._rtt_s.items()) for node, s in of_one.items()}
        yield _gauge("messaging_kafka_broker_rtt_seconds", ["consumer", "broker"], rtt_s)
        if (executor := self.executor) is not None:
            yield _gauge("millstream_jobs_in_flight", [], {(): executor.running})
            queued = executor.queued_by_tenant().most_common(MOST_TENANTS)
            yield _gauge("millstream_jobs_queued", ["tenant"], {(tenant,): count for tenant, count in queued})


def _counter(name: str, labels: list[str], rows: Mapping[Labels, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, METRICS[name], labels=labels)
    for values, count in list(rows.items()):
        family.add_metric(list(values), count)
    return family


def _gauge(name: str, labels: list[str], rows: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, METRICS[name], labels=labels)
    for values, number in list(rows.items()):
        family.add_metric(list(values), number)
    return family


def _histogram(name: str, labels: list[str], rows: Mapping[Labels, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, METRICS[name], labels=labels)
    for values, histogram in list(rows.items()):
        family.add_metric(list(values), histogram.buckets(), histogram.total)
    return family
