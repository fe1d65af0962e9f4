"""How one attempt ended, for assertions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.consumers.worker.execution.outcome import Outcome
from millstream.schemas import DeadReason, EventKind, JobRequest
from millstream.testing.context import ProgressCall


@dataclass(frozen=True)
class HandlerResult:
    """How one attempt ended, as a worker would report it, and what the handler did meanwhile.

    `error`: what the handler raised; None when it returned, timed out or was never called. `reason`: why the job would
    be dead-lettered if this was its last attempt. `retryable`: whether another attempt may follow. `run_ms`: run time
    in milliseconds. `still_running`: the handler went on after it was timed out or cancelled.
    """

    request: JobRequest
    outcome: Outcome
    error: BaseException | None
    run_ms: float
    progress: tuple[ProgressCall, ...]
    heartbeats: int
    log: tuple[Mapping[str, Any], ...]
    still_running: bool = False

    @property
    def kind(self) -> EventKind:
        """`succeeded`, `failed`, `timed_out` or `cancelled`."""
        return self.outcome.kind

    @property
    def succeeded(self) -> bool:
        return self.kind is EventKind.SUCCEEDED

    @property
    def failed(self) -> bool:
        return self.kind is EventKind.FAILED

    @property
    def timed_out(self) -> bool:
        return self.kind is EventKind.TIMED_OUT

    @property
    def cancelled(self) -> bool:
        return self.kind is EventKind.CANCELLED

    @property
    def invalid_payload(self) -> bool:
        """Whether the handler was not called because it does not take this payload."""
        return not self.succeeded and self.reason is DeadReason.INVALID_PAYLOAD

    @property
    def reason(self) -> DeadReason:
        return self.outcome.reason

    @property
    def retryable(self) -> bool:
        return self.outcome.retryable

    @property
    def error_type(self) -> str:
        """The name of the error's class; empty when there was none."""
        return self.outcome.error.get("error_type", "")

    @property
    def error_message(self) -> str:
        return self.outcome.error.get("error_message", "")

    @property
    def fingerprint(self) -> str:
        """Equal for errors of one cause; `rca errors` and the error views group by it."""
        return self.outcome.error.get("error_fingerprint", "")

    def raise_for_outcome(self) -> None:
        """Raise what the handler raised; AssertionError for any other outcome than success; else do nothing."""
        if self.error is not None:
            raise self.error
        if not self.succeeded:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        request = self.request
        error = f" with {self.error_type}: {self.error_message}" if self.error_type else ""
        return f"{request.job_type} attempt {request.attempt} of {request.max_attempts} {self.kind.value}{error}"

    def __repr__(self) -> str:
        return f"<{self}>"
