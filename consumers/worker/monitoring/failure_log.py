"""A log line for each attempt that failed, without its payload and without a flood."""

import structlog

from millstream.consumers.worker.execution.execution import Execution
from millstream.line_rate import LineRate
from millstream.schemas import EventKind

log = structlog.get_logger(__name__)


class FailureLog:
    """Logs failures: of one kind, which is job type, error and fingerprint, one a second, and ten of all kinds. Each
    line says how many of its kind were left out since the last one; all are in the events.

    Level `error` for the last attempt of a job, `warning` before.
    """

    def __init__(self, limit: LineRate | None = None) -> None:
        self._limit = limit or LineRate(1.0, most=10)

    def ended(self, execution: Execution) -> None:
        """Log an attempt, if it failed or timed out."""
        outcome, shared = execution.outcome, execution.read.shared
        if outcome is None or outcome.kind not in (EventKind.FAILED, EventKind.TIMED_OUT):
            return
        error = outcome.error
        error_type = error.get("error_type", "")
        left_out = self._limit.admit((execution.job_type, error_type, error.get("error_fingerprint")))
        if left_out is None:
            return
        last = not outcome.retryable or shared.attempt >= shared.max_attempts
        fields = {
            **execution.log_fields,
            "max_attempts": shared.max_attempts,
            "error_type": error_type,
            "reason": error.get("error_message", ""),
            "left_out": left_out,
        }
        if stack := error.get("stack"):
            fields["exception"] = stack
        event = "job_timed_out" if outcome.kind is EventKind.TIMED_OUT else "job_failed"
        (log.error if last else log.warning)(event, **fields)
