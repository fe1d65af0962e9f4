"""What a handler gets besides its payload."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

import structlog

from millstream.consumers.worker.execution.outcome import encodable
from millstream.schemas import JobRequest

PROGRESS_INTERVAL_S = 0.5
HEARTBEAT_INTERVAL_S = 0.05


class JobContext:
    """The job that runs: whose it is, how long it may take, and how to report while it runs.

    `execution_id` is new at each start; `idempotency_key` is the same for every execution of the job, so that work
    with an outside effect can be done once. Safe to use from the handler's own thread or task.
    """

    def __init__(
        self,
        request: JobRequest,
        execution_id: str,
        on_progress: Callable[[float, str], None],
        on_heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_heartbeat = on_heartbeat
        self.request = request
        self.execution_id = execution_id
        self.cancelled = False
        self._on_progress = on_progress
        self._progress_at = 0.0
        self._completed = False
        self._heartbeat_at = 0.0

    @property
    def job_id(self) -> str:
        return self.request.job_id

    @property
    def attempt(self) -> int:
        return self.request.attempt

    @property
    def tenant(self) -> str:
        return self.request.tenant

    @property
    def deadline(self) -> datetime | None:
        return self.request.deadline

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the deadline, negative when it has passed; None without one."""
        return (self.deadline - datetime.now(UTC)).total_seconds() if self.deadline else None

    @property
    def idempotency_key(self) -> str:
        return self.request.job_id

    @property
    def traceparent(self) -> str:
        """The W3C trace context that the producer submitted the job in; empty without one."""
        return self.request.traceparent

    @cached_property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger that carries the job's ids."""
        logger: structlog.stdlib.BoundLogger = structlog.get_logger("millstream.job").bind(
            job_id=self.job_id, attempt=self.attempt, tenant=self.tenant, job_type=self.request.job_type
        )
        return logger

    def heartbeat(self) -> None:
        """Show that the handler is alive. Where its job type has `heartbeat_s`, an attempt without a heartbeat for that
        long is ended. `progress` counts as a heartbeat."""
        now = time.monotonic()
        if now - self._heartbeat_at >= HEARTBEAT_INTERVAL_S:
            self._heartbeat_at = now
            self.on_heartbeat()

    def progress(self, fraction: float, message: str = "") -> None:
        """Report how far the job is, from 0 to 1; values outside are clamped. At most two reports a second become
        events; the first one of 1.0 always does."""
        self.heartbeat()
        now = time.monotonic()
        fraction = min(max(0.0, float(fraction)), 1.0)
        completes = fraction == 1.0 and not self._completed
        if completes or now - self._progress_at >= PROGRESS_INTERVAL_S:
            self._progress_at = now
            self._completed = self._completed or completes
            self._on_progress(fraction, encodable(str(message)))
