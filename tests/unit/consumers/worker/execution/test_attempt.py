"""One attempt: what may run at all, and the outcome of whatever the handler does. No threads, no event loop of its
own."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from millstream.consumers.worker import JobTypes
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.attempt import HOST_PAUSE_S, AttemptRunner, PutBack
from millstream.consumers.worker.execution.cancellations import Cancellation, Cancellations
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.registry import JobType
from millstream.consumers.worker.execution.runners import NotStarted
from millstream.schemas import DeadReason, EventKind
from tests.unit.consumers.worker.execution.made import execution

jobs = JobTypes()


@jobs.job("known")
async def known() -> None:
    """Never called: the runner is scripted."""


class ScriptedRunner:
    """Does what the test says in place of a handler; `ran` counts."""

    def __init__(self, does: Callable[[Execution], Awaitable[Outcome]] | None = None) -> None:
        self.ran = 0
        self._does = does

    async def run(self, job_type: JobType, execution: Execution) -> Outcome:
        self.ran += 1
        return await self._does(execution) if self._does else SUCCEEDED

    def stop(self) -> None:
        """Nothing to release."""


async def ran(
    made: Execution, runner: ScriptedRunner | None = None, cancellations: Cancellations | None = None
) -> Outcome:
    attempts = AttemptRunner(jobs, cancellations or Cancellations(), {"loop": runner or ScriptedRunner()})
    made.begin()
    ended = await attempts.run(made, "loop")
    assert isinstance(ended, Outcome)
    attempts.conclude(made, ended)
    assert made.outcome is not None and made.finished_us
    return made.outcome


async def test_a_handler_that_returns_has_succeeded() -> None:
    assert await ran(execution("known")) is SUCCEEDED


async def test_an_unknown_type_is_rejected_with_the_types_that_are_known() -> None:
    ended = await ran(execution("unknown"))
    assert (ended.kind, ended.reason, ended.retryable) == (EventKind.FAILED, DeadReason.UNKNOWN_TYPE, False)
    assert ended.error["error_message"].endswith("the job types of this worker: known")


async def test_a_job_that_was_cancelled_before_its_turn_never_runs() -> None:
    made, runner, cancellations = execution("known"), ScriptedRunner(), Cancellations()
    cancellations.add(made.job_id, Cancellation("not needed"))
    ended = await ran(made, runner, cancellations)
    assert (ended.kind, runner.ran) == (EventKind.CANCELLED, 0)
    assert made.cancel_command_active


async def test_a_job_whose_deadline_has_passed_never_runs_and_is_not_tried_again() -> None:
    runner = ScriptedRunner()
    ended = await ran(execution("known", deadline=datetime.now(UTC) - timedelta(seconds=1)), runner)
    assert (ended.kind, ended.retryable, runner.ran) == (EventKind.TIMED_OUT, False, 0)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_a_handler_raises_fails_its_attempt_and_nothing_else(error: BaseException) -> None:
    async def raises(_: Execution) -> Outcome:
        raise error

    ended = await ran(execution("known"), ScriptedRunner(raises))
    assert (ended.kind, ended.error["error_type"]) == (EventKind.FAILED, type(error).__name__)


@pytest.mark.parametrize("returns", [True, False])
async def test_an_attempt_whose_time_is_over_ends_so_whatever_its_handler_does(returns: bool) -> None:
    async def goes_on(made: Execution) -> Outcome:
        made.ends_as = outcome.timed_out("still running after 1 s")
        if returns:
            return SUCCEEDED
        raise ValueError("no")

    ended = await ran(execution("known"), ScriptedRunner(goes_on))
    assert (ended.kind, ended.error["error_message"]) == (EventKind.TIMED_OUT, "still running after 1 s")


async def test_a_cancellation_that_nobody_ordered_puts_the_job_back_three_times_and_then_fails_it() -> None:
    async def is_cancelled(_: Execution) -> Outcome:
        raise asyncio.CancelledError

    made = execution("known")
    attempts = AttemptRunner(jobs, Cancellations(), {"loop": ScriptedRunner(is_cancelled)})
    made.begin()
    for _ in range(3):
        put_back = await attempts.run(made, "loop")
        assert isinstance(put_back, PutBack) and not put_back.pause_s
        made.wait_again()
        made.begin_again()
    failed = await attempts.run(made, "loop")
    assert isinstance(failed, Outcome)
    assert failed.error["error_type"] == "UnexpectedCancellation"
    assert "4 starts" in failed.error["error_message"]


async def test_what_the_host_cannot_start_is_put_back_and_is_no_failure_of_the_job() -> None:
    async def not_started(_: Execution) -> Outcome:
        raise NotStarted("no more processes")

    attempts = AttemptRunner(jobs, Cancellations(), {"loop": ScriptedRunner(not_started)})
    made = execution("known")
    made.begin()
    for _ in range(10):
        assert await attempts.run(made, "loop") == PutBack("no more processes", HOST_PAUSE_S)
