"""One start of one attempt of one job, from its request to its outcome."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.consumers.worker.execution.started_work import StartedWork
from millstream.schemas import ReadRequest
from millstream.schemas.ids import new_id


class Execution:
    """A request taken from a partition. The executor runs it, the poll thread commits its outcome.

    `lane` is the lane it was read from: `default.overflow` for what came back from the overflow of `default`.
    `event_start`: the bytes with which each event of this attempt begins. `stop_running` asks a run under way to stop;
    `on_left_behind` is called when it goes on and its slot is given away; `on_cancel` takes a cancellation to the event
    loop. `ends_as`: its outcome whatever its handler does, once its time is over or it is cancelled. `cancelled`: why
    it was cancelled, or "". `cancel_command_active`: a command to cancel the job is active. `awaited`: the previous
    owner of its partition runs it, so it does not start here; `finished_elsewhere`: that one has written its outcome.
    `retained`: it goes on although its partition is not held any more. `waits_again`: it had started and went back into
    its queue; `interruptions`: how often for a cancellation that nobody ordered. `started`: what its handler started
    outside its own steps. Times in `_us` are microseconds since 1970, 0 before the moment they name.
    """

    # Defaults of what most executions never change, so that it is not set for each of them.
    context: JobContext | None = None
    stop_running: Callable[[], object] | None = None
    on_left_behind: Callable[[], object] | None = None
    on_cancel: "Callable[[Execution], object] | None" = None
    ends_as: Outcome | None = None
    cancelled = ""
    cancel_command_active = False
    awaited = False
    finished_elsewhere = False
    retained = False
    waits_again = False
    interruptions = 0
    event_start = b""
    outcome: Outcome | None = None
    started_us = 0
    finished_us = 0
    wait_ms = 0.0
    run_ms = 0.0
    cpu_ns = 0
    rss_bytes: int | None = None
    started: StartedWork | None = None
    _began = 0.0

    def __init__(self, assignment: Assignment, offset: int, value: bytes, read: ReadRequest) -> None:
        self.assignment = assignment
        self.offset = offset
        self.value = value
        self.read = read
        self.tenant = read.tenant
        self.job_type = read.shared.job_type
        self.lane = assignment.lane
        self.ordering_key = read.ordering_key
        self.execution_id = new_id()

    @property
    def job_id(self) -> str:
        return self.read.key.decode()

    @property
    def log_fields(self) -> dict[str, object]:
        """What names it in log lines."""
        return {
            "job_id": self.job_id,
            "attempt": self.read.shared.attempt,
            "job_type": self.job_type,
            "tenant": self.tenant,
        }

    @property
    def live(self) -> bool:
        return self.assignment.may_start and not self.finished_elsewhere

    @property
    def started_at(self) -> datetime | None:
        return datetime.fromtimestamp(self.started_us / 1e6, UTC) if self.started_us else None

    @property
    def cpu_ms(self) -> float:
        return self.cpu_ns / 1e6

    def begin(self) -> None:
        """Note the start: the wait ends and the run begins."""
        self._began = time.perf_counter()
        self.started_us = time.time_ns() // 1000
        # The clocks of two hosts may differ; a wait is never negative.
        self.wait_ms = max(0, self.started_us - self.read.due_us) / 1000

    def wait_again(self) -> None:
        """Note that it goes back into its queue: what it did so far does not count."""
        self.waits_again = True
        self.context = self.stop_running = self.on_left_behind = self.on_cancel = None
        self.started = None
        self.finished_us = self.cpu_ns = 0

    def begin_again(self) -> None:
        """Note the start after `wait_again`. The attempt is the same, so its start remains the first one."""
        self.waits_again = False
        self._began = time.perf_counter()

    def restart_clock(self) -> None:
        """Note that the handler starts only now: until here its process started, which is not the job's time."""
        self._began = time.perf_counter()

    def cancel(self, reason: str) -> None:
        """End a run under way. May be called by any thread; a plain function in a thread can only see it in its
        context."""
        self.cancelled = reason
        self.signal_cancelled()
        if self.on_cancel is not None:
            self.on_cancel(self)

    def signal_cancelled(self) -> None:
        """Set `cancelled` in the handler's context, so that it can end by itself."""
        if self.context is not None:
            self.context.cancelled = True

    def stop_clock(self) -> None:
        """Note the end of the run; what follows, such as formatting an error, is not counted as the job's time."""
        if not self.finished_us:
            self.run_ms = (time.perf_counter() - self._began) * 1000
            self.finished_us = time.time_ns() // 1000

    def end(self, outcome: Outcome) -> None:
        """Note the outcome."""
        self.stop_clock()
        if self.started is not None:
            used = self.started.close()
            self.cpu_ns += used.threads_cpu_ns + used.programs_cpu_ns
            self.rss_bytes = used.peak_rss_bytes or None
        self.outcome = outcome
