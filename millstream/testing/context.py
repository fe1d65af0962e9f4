"""A job's context that records what the handler does with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from millstream.consumers.worker.execution.job_context import JobContext
from millstream.schemas import JobRequest
from millstream.schemas.ids import new_id


class ProgressCall(NamedTuple):
    """One call of `context.progress()`. Every call is recorded; a worker makes at most two a second into events."""

    fraction: float
    message: str


class RecordingContext(JobContext):
    """A `JobContext` that records what the handler does with it; `fake_context` makes one.

    `progress_calls`: each call of `progress()`. `heartbeats`: how many calls of `heartbeat()` and `progress()` there
    were. `log_lines`: what was logged with `log`, as dicts with `event`, `log_level` and the fields; the lines are
    printed too, as structlog is configured.
    """

    def __init__(self, request: JobRequest) -> None:
        self.progress_calls: list[ProgressCall] = []
        self.heartbeats = 0
        self.log_lines: list[dict[str, Any]] = []
        self.on_call: Callable[[], object] = lambda: None
        super().__init__(request, new_id(), lambda fraction, message: None)
        config = structlog.get_config()
        recorder = structlog.wrap_logger(
            config["logger_factory"]("millstream.job"), processors=[self._record, *config["processors"]]
        )
        self.log = recorder.bind(
            job_id=self.job_id, attempt=self.attempt, tenant=self.tenant, job_type=request.job_type
        )

    def heartbeat(self) -> None:
        self.heartbeats += 1
        super().heartbeat()

    def progress(self, fraction: float, message: str = "") -> None:
        self.progress_calls.append(ProgressCall(fraction, message))
        super().progress(fraction, message)
        self.on_call()

    def _record(self, _: object, level: str, line: Any) -> Any:
        self.log_lines.append({**line, "log_level": level})
        return line
