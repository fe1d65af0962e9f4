"""Whether a job gets another attempt. Pure.

Today every attempt that failed or timed out is followed at once by the next one, up to the request's `max_attempts`,
unless its outcome says that no attempt can succeed.
"""

from dataclasses import dataclass

from millstream.consumers.worker.execution.outcome import Outcome
from millstream.schemas import EventKind, JobRequest


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When the next attempt of a job is due.

    delay(attempt) = 0 for attempt < max_attempts: a job with `max_attempts` 4 runs at 0, 0, 0 and 0 s after each
    failure, then is given up.

    `retried`: the kinds of outcome that may be followed by another attempt.
    """

    retried: frozenset[EventKind] = frozenset({EventKind.FAILED, EventKind.TIMED_OUT})

    def next_delay_s(self, outcome: Outcome, request: JobRequest) -> float | None:
        """Seconds until the next attempt of `request` after `outcome`; None when there is none."""
        if outcome.kind not in self.retried or not outcome.retryable:
            return None
        return 0.0 if request.attempt < request.max_attempts else None

    def gives_up(self, outcome: Outcome, request: JobRequest) -> bool:
        """Whether the job ends as a dead letter: it has failed and gets no other attempt."""
        return outcome.kind in self.retried and self.next_delay_s(outcome, request) is None
