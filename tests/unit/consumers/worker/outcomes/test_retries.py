"""The retry policy: which outcomes are followed by another attempt, and which end in a dead letter."""

import pytest

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.outcomes.retries import RetryPolicy
from millstream.schemas import DeadReason, JobRequest

FAILED = outcome.failed(ValueError("no"))
TIMED_OUT = outcome.timed_out("still running")
REJECTED = outcome.rejected(DeadReason.UNKNOWN_TYPE, LookupError("no handler"))
CANCELLED = outcome.cancelled("not needed")


def request(attempt: int, max_attempts: int = 3) -> JobRequest:
    return JobRequest(tenant="a", job_type="t", attempt=attempt, max_attempts=max_attempts)


@pytest.mark.parametrize("ended", [FAILED, TIMED_OUT])
def test_what_failed_is_tried_again_until_its_attempts_are_used_up(ended: Outcome) -> None:
    policy = RetryPolicy()
    assert [policy.next_delay_s(ended, request(attempt)) for attempt in (1, 2, 3)] == [0.0, 0.0, None]
    assert [policy.gives_up(ended, request(attempt)) for attempt in (1, 2, 3)] == [False, False, True]


def test_what_no_attempt_can_run_is_given_up_at_once() -> None:
    policy = RetryPolicy()
    assert policy.next_delay_s(REJECTED, request(1)) is None
    assert policy.gives_up(REJECTED, request(1))


@pytest.mark.parametrize("ended", [SUCCEEDED, CANCELLED])
def test_what_succeeded_or_was_cancelled_gets_neither_another_attempt_nor_a_dead_letter(ended: Outcome) -> None:
    policy = RetryPolicy()
    assert policy.next_delay_s(ended, request(1)) is None
    assert not policy.gives_up(ended, request(1))
