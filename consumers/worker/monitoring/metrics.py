"""The Prometheus metrics of a worker: each with its type, unit, labels, and when it changes.

Names follow OpenTelemetry's conventions for messaging where there is one. The counts are plain numbers that the poll
thread adds to, a fraction of a microsecond each; they become samples only when Prometheus scrapes them.
"""

import json
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.broker_status import is_connected
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.status import WorkerStatus

Labels = TypeVar("Labels", bound=tuple[str, ...])
MetricFamily = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_FAMILIES: dict[str, type[MetricFamily]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
MOST_TENANTS = 200
OTHER = "other"
"""The label of job types without a handler, so that what tenants send cannot make more labels."""


@dataclass(frozen=True)
class MetricSpec:
    """One metric as Prometheus exposes it. `name` is without the suffix that its type adds."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: tuple[str, ...]
    meaning: str


TAKEN = MetricSpec(
    "messaging_client_consumed_messages",
    "counter",
    "requests",
    (),
    "Requests taken from the lanes; changes when a record is taken.",
)
OUTCOMES = MetricSpec(
    "millstream_job_outcomes",
    "counter",
    "attempts",
    ("job_type", "kind"),
    "Attempts that ended; changes when an outcome is collected.",
)
WAIT = MetricSpec(
    "millstream_job_wait_seconds",
    "histogram",
    "seconds",
    ("job_type",),
    "From due to started; changes when an attempt ends.",
)
RUN = MetricSpec(
    "messaging_process_duration_seconds",
    "histogram",
    "seconds",
    ("job_type",),
    "Run time of the handler; changes when an attempt ends.",
)
CPU = MetricSpec(
    "millstream_job_cpu_seconds",
    "counter",
    "seconds",
    ("job_type",),
    "CPU time of the handlers; changes when an attempt ends.",
)
IN_FLIGHT = MetricSpec("millstream_jobs_in_flight", "gauge", "attempts", (), "Attempts that run now.")
QUEUED = MetricSpec(
    "millstream_jobs_queued",
    "gauge",
    "jobs",
    ("tenant",),
    "Jobs admitted that wait to start, of the tenants with the longest queues.",
)
LIMIT = MetricSpec(
    "millstream_concurrency_limit", "gauge", "jobs", (), "Jobs that may run at once on the event loop now."
)
LOOP_LATE = MetricSpec(
    "millstream_event_loop_late_seconds",
    "gauge",
    "seconds",
    (),
    "For how long a coroutine has been blocking the event loop; 0 when none is.",
)
STUCK = MetricSpec(
    "millstream_stuck_handlers",
    "gauge",
    "handlers",
    ("job_type",),
    "Handlers that go on although their attempts have timed out or were cancelled.",
)
MOVED = MetricSpec(
    "millstream_overflow_records",
    "counter",
    "requests",
    (),
    "Requests moved to an overflow topic because their tenant was over its share.",
)
ABORTED = MetricSpec(
    "millstream_transactions_aborted",
    "counter",
    "transactions",
    (),
    "Transactions that were aborted and written again.",
)
TRANSACTION = MetricSpec(
    "millstream_transaction_duration_seconds",
    "histogram",
    "seconds",
    (),
    "From beginning to committed; changes with each transaction.",
)
MISSING = MetricSpec(
    "millstream_records_missing",
    "counter",
    "requests",
    (),
    "Offsets of the lanes that were deleted or truncated before they were read; should be 0 for ever.",
)
DEFERRED = MetricSpec(
    "millstream_partitions_deferred",
    "gauge",
    "partitions",
    (),
    "Partitions that wait at a record whose schema is not known while the schema registry is unavailable.",
)
HELD = MetricSpec(
    "millstream_records_held",
    "gauge",
    "requests",
    (),
    "Records of a schema that no release has announced, and jobs of their ordering keys, kept aside.",
)
FENCED = MetricSpec(
    "millstream_workers_fenced",
    "counter",
    "workers",
    (),
    "Workers without heartbeats whose transaction this one aborted.",
)
REJECTED = MetricSpec(
    "millstream_coordination_records_rejected",
    "counter",
    "records",
    ("topic",),
    "Heartbeats and commands that make no sense, which anybody may have written, and were ignored.",
)
RESTARTS = MetricSpec(
    "millstream_worker_restarts",
    "counter",
    "restarts",
    (),
    "Times this worker lost its transactional producer and started over.",
)
LAG = MetricSpec(
    "messaging_kafka_consumer_lag",
    "gauge",
    "records",
    ("topic", "partition"),
    "Records of a partition that this worker has not taken, by librdkafka's latest statistics.",
)
RTT = MetricSpec(
    "messaging_kafka_broker_rtt_seconds",
    "gauge",
    "seconds",
    ("consumer", "broker"),
    "Mean round-trip time of a lane's consumer to a broker, by librdkafka's latest statistics.",
)

METRICS = (
    TAKEN,
    OUTCOMES,
    WAIT,
    RUN,
    CPU,
    IN_FLIGHT,
    QUEUED,
    LIMIT,
    LOOP_LATE,
    STUCK,
    MOVED,
    ABORTED,
    TRANSACTION,
    MISSING,
    DEFERRED,
    HELD,
    FENCED,
    REJECTED,
    RESTARTS,
    LAG,
    RTT,
)
"""Every metric of a worker, in the order of a job's way through it."""


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
        """Cumulative counts, as Prometheus expects them."""
        rows, below = [], 0
        for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], self.counts, strict=True):
            below += count
            rows.append((bound, float(below)))
        return rows


class WorkerMetrics(Collector):
    """The counts of one worker. `job_types`: those it has handlers for."""

    def __init__(self, status: WorkerStatus, job_types: Iterable[str] = ()) -> None:
        self._status = status
        self._job_types = frozenset(job_types)
        self.taken = 0
        self.moved = 0
        self.aborted = 0
        self.fenced = 0
        self.missing = 0
        self.deferred = 0
        self.held = 0
        self.limit = 0
        self.loop_late_s = 0.0
        self.stuck: Mapping[str, int] = {}
        self.transactions = Histogram()
        self._rejected: Counter[tuple[str]] = Counter()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._waits: dict[str, Histogram] = {}
        self._runs: dict[str, Histogram] = {}
        self._cpu_s: defaultdict[str, float] = defaultdict(float)
        self._lag: dict[str, dict[tuple[str, str], float]] = {}
        self._rtt_s: dict[str, dict[str, float]] = {}

    def ended(self, execution: Execution) -> None:
        """Count an attempt that has its outcome."""
        name = execution.job_type if execution.job_type in self._job_types else OTHER
        assert execution.outcome is not None
        self._outcomes[name, execution.outcome.kind] += 1
        waits = self._waits.get(name)
        if waits is None:
            waits = self._waits[name] = Histogram()
            self._runs[name] = Histogram()
        waits.observe(execution.wait_ms / 1000)
        self._runs[name].observe(execution.run_ms / 1000)
        self._cpu_s[name] += execution.cpu_ns / 1e9

    def count_aborted(self) -> None:
        """Count an aborted transaction."""
        self.aborted += 1

    def count_rejected(self, topic: str) -> None:
        """Count a record of a coordination topic that was ignored. Called by the listener's thread."""
        self._rejected[(topic,)] += 1

    def count_missing(self, offsets: int) -> None:
        """Count offsets that can no longer be read."""
        self.missing += offsets

    def read_statistics(self, consumer: str, text: str, assignments: Mapping[tuple[str, int], Assignment]) -> None:
        """Take lag and round-trip times from librdkafka's statistics of one of the worker's consumers, which has these
        assignments, and whether it is connected to a broker."""
        statistics = json.loads(text)
        brokers = statistics.get("brokers", {}).values()
        self._status.brokers.note(consumer, is_connected(statistics), time.monotonic())
        topics = statistics.get("topics", {})
        self._lag[consumer] = {
            (topic, str(partition)): _unread(assignment, found)
            for (topic, partition), assignment in assignments.items()
            if (found := topics.get(topic, {}).get("partitions", {}).get(str(partition)))
        }
        self._rtt_s[consumer] = {
            broker["nodename"]: broker["rtt"]["avg"] / 1e6 for broker in brokers if broker.get("rtt", {}).get("cnt")
        }

    def collect(self) -> Iterator[MetricFamily]:
        """The samples of every metric."""
        yield _family(TAKEN, {(): self.taken})
        yield _family(OUTCOMES, self._outcomes)
        yield _family(WAIT, {(name,): waits for name, waits in self._waits.copy().items()})
        yield _family(RUN, {(name,): runs for name, runs in self._runs.copy().items()})
        yield _family(CPU, {(name,): cpu_s for name, cpu_s in self._cpu_s.copy().items()})
        if (load := self._status.load) is not None:
            yield _family(IN_FLIGHT, {(): load.running})
            queued = load.queued_by_tenant().most_common(MOST_TENANTS)
            yield _family(QUEUED, {(tenant,): count for tenant, count in queued})
        yield _family(LIMIT, {(): self.limit})
        yield _family(LOOP_LATE, {(): self.loop_late_s})
        yield _family(STUCK, {(name,): count for name, count in self.stuck.items()})
        yield _family(MOVED, {(): self.moved})
        yield _family(ABORTED, {(): self.aborted})
        yield _family(TRANSACTION, {(): self.transactions})
        yield _family(MISSING, {(): self.missing})
        yield _family(DEFERRED, {(): self.deferred})
        yield _family(HELD, {(): self.held})
        yield _family(FENCED, {(): self.fenced})
        yield _family(REJECTED, self._rejected.copy())
        yield _family(RESTARTS, {(): self._status.restarts})
        lag = {labels: records for of_one in list(self._lag.values()) for labels, records in of_one.items()}
        yield _family(LAG, lag)
        yield _family(
            RTT, {(consumer, node): s for consumer, of_one in list(self._rtt_s.items()) for node, s in of_one.items()}
        )


def _unread(assignment: Assignment, statistics: Mapping[str, int]) -> int:
    """How many offsets of a partition were not taken. librdkafka's own lag is that of a consumer that commits, which
    these do not. What lies behind the last record that was taken may be markers of transactions; the client has passed
    them where it has not passed records too."""
    read_to = max(assignment.next_offset, statistics["lo_offset"])
    if not assignment.paused and not assignment.passed:
        read_to = max(read_to, statistics["app_offset"])
    return max(0, statistics["ls_offset"] - read_to)


def _family(metric: MetricSpec, rows: Mapping[Labels, float | Histogram]) -> MetricFamily:
    family = _FAMILIES[metric.type](metric.name, metric.meaning, labels=metric.labels)
    for labels, value in list(rows.items()):
        sample = (value.buckets(), value.total) if isinstance(value, Histogram) else (value,)
        family.add_metric(list(labels), *sample)
    return family
