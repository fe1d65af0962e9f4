"""One attempt of one job: from the record that asks for it to the records that tell its outcome."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from millstream.consumers.worker.assignment import Assignment
from millstream.consumers.worker.context import JobContext
from millstream.consumers.worker.metering import CpuMeter
from millstream.consumers.worker.outcome import Outcome
from millstream.schemas import ReadRequest
from millstream.schemas.models import new_id


class Execution:
    """A request taken from a partition. The event loop runs it, the poll thread writes its outcome.

    `lane` is the lane it was read from: `default.overflow` for what came back from the overflow of `default`.
    `stop_running` ends a run under way; None while there is nothing to stop.
    """

    __slots__ = (
        "_began",
        "assignment",
        "attempt_part",
        "cancelled",
        "context",
        "cpu_ms",
        "execution_id",
        "finished_at",
        "job_type",
        "lane",
        "meter",
        "offset",
        "ordering_key",
        "outcome",
        "read",
        "rss_bytes",
        "run_ms",
        "started_at",
        "stop_running",
        "tenant",
        "value",
        "wait_ms",
    )

    def __init__(self, assignment: Assignment, offset: int, value: bytes, read: ReadRequest) -> None:
        request = read.request
        self.assignment = assignment
        self.offset = offset
        self.value = value
        self.read = read
        self.tenant = request.tenant
        self.job_type = request.job_type
        self.lane = assignment.lane
        self.ordering_key = request.ordering_key
        self.execution_id = new_id()
        self.meter = CpuMeter()
        self.context: JobContext | None = None
        self.stop_running: Callable[[], object] | None = None
        self.cancelled = ""
        self.attempt_part = b""
        self.outcome: Outcome | None = None
        self.started_at: datetime | None = None
        self.finished_at: datetime | None = None
        self.wait_ms = 0.0
        self.run_ms = 0.0
        self.cpu_ms = 0.0
        self.rss_bytes: int | None = None
        self._began = 0.0

    @property
    def job_id(self) -> str:
        return self.read.request.job_id

    @property
    def live(self) -> bool:
        return self.assignment.starting

    def begin(self) -> None:
        """Note the start: the wait is over, the run begins."""
        self._began = time.perf_counter()
        self.started_at = datetime.now(UTC)
        request = self.read.request
        due = max(request.submitted_at, request.not_before) if request.not_before else request.submitted_at
        # Clocks of two hosts may disagree; a wait is never negative.
        self.wait_ms = max(0.0, (self.started_at - due).total_seconds() * 1000)

    def cancel(self, reason: str) -> None:
        """Ask a run under way to end; a plain function in a thread only sees it in its context."""
        self.cancelled = reason
        if self.context is not None:
            self.context.cancelled = True
        if self.stop_running is not None:
            self.stop_running()

    def stop_clock(self) -> None:
        """Note the end of the run; what follows, such as describing an error, is not the job's time."""
        if self.finished_at is None:
            self.run_ms = (time.perf_counter() - self._began) * 1000
            self.finished_at = datetime.now(UTC)

    def end(self, outcome: Outcome) -> None:
        self.stop_clock()
        self.cpu_ms = self.cpu_ms or self.meter.milliseconds
        self.outcome = outcome
