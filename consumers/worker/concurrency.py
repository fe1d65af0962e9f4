"""Keeps the number of coroutines that run at once at what the adaptive limit allows."""

import time
from collections.abc import Collection

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.scheduling.adaptive_limit import AdaptiveLimit
from millstream.consumers.worker.scheduling.admission import Admission

INTERVAL_S = 0.5


class ConcurrencyControl:
    """Measures and applies the limit. Not thread-safe: the poll thread owns it.

    `loop_types`: the job types whose handlers run on the event loop; only they are limited.
    """

    def __init__(
        self,
        config: WorkerConfig,
        loop_types: Collection[str],
        executor: Executor,
        admission: Admission,
        host: HostGauge,
        metrics: WorkerMetrics,
    ) -> None:
        self._loop_types = loop_types
        self._executor = executor
        self._admission = admission
        self._host = host
        self._metrics = metrics
        self._fixed = config.limit == "fixed"
        self._limit = AdaptiveLimit(config.concurrency, config.min_concurrency, config.max_concurrency)
        self._run_times: list[tuple[str, float]] = []
        self._updated_at = time.monotonic()
        metrics.limit = config.concurrency

    def sample(self, execution: Execution) -> None:
        """Take the run time of an execution that has its outcome. Only successes count: what fails ends sooner or later
        than the work takes."""
        if execution.outcome is SUCCEEDED and execution.job_type in self._loop_types:
            self._run_times.append((execution.job_type, execution.run_ms))

    def run_once(self) -> None:
        """Update the limit when it is time to."""
        now = time.monotonic()
        if now - self._updated_at < INTERVAL_S:
            return
        self._updated_at = now
        samples, self._run_times = self._run_times, []
        if self._fixed:
            return
        busiest = self._executor.set_concurrency(self._limit.limit)
        limit = self._limit.update(samples, busiest, self._host.cpu_used, self._host.memory_used)
        self._executor.set_concurrency(limit)
        self._admission.slots = limit
        self._metrics.limit = limit
