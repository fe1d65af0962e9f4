"""One attempt of one job: from the record that asks for it to the records that tell its outcome."""

import time
from datetime import UTC, datetime

from millstream.consumers.worker.assignment import Assignment
from millstream.consumers.worker.context import JobContext
from millstream.consumers.worker.metering import CpuMeter
from millstream.consumers.worker.outcome import Outcome
from millstream.schemas import ReadRequest
from millstream.schemas.models import new_id


class Execution:
    """A request taken from a partition. The event loop runs it, the poll thread writes its outcome."""

    __slots__ = (
        "_began",
        "assignment",
        "attempt_part",
        "context",
        "cpu",
        "execution_id",
        "finished_at",
        "offset",
        "outcome",
        "read",
        "run_ms",
        "started_at",
        "value",
        "wait_ms",
    )

    def __init__(self, assignment: Assignment, offset: int, value: bytes, read: ReadRequest) -> None:
        self.assignment = assignment
        self.offset = offset
        self.value = value
        self.read = read
        self.execution_id = new_id()
        self.cpu = CpuMeter()
        self.context: JobContext | None = None
        self.attempt_part = b""
        self.outcome: Outcome | None = None
        self.started_at: datetime | None = None
        self.finished_at: datetime | None = None
        self.wait_ms = 0.0
        self.run_ms = 0.0
        self._began = 0.0

    def begin(self) -> None:
        """Note the start: the wait is over, the run begins."""
        self._began = time.perf_counter()
        self.started_at = datetime.now(UTC)
        request = self.read.request
        due = max(request.submitted_at, request.not_before) if request.not_before else request.submitted_at
        # Clocks of two hosts may disagree; a wait is never negative.
        self.wait_ms = max(0.0, (self.started_at - due).total_seconds() * 1000)

    def stop_clock(self) -> None:
        """Note the end of the run; what follows, such as describing an error, is not the job's time."""
        if self.finished_at is None:
            self.run_ms = (time.perf_counter() - self._began) * 1000
            self.finished_at = datetime.now(UTC)

    def end(self, outcome: Outcome) -> None:
        self.stop_clock()
        self.outcome = outcome
