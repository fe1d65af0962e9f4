"""One attempt of one job: whether it may run at all, how it ran, and its outcome."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.cancellations import Cancellations
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.registry import JobTypes, RunsOn
from millstream.consumers.worker.execution.runners import NotStarted, Runner
from millstream.consumers.worker.execution.time_limits import deadline_passed
from millstream.redaction import Redaction
from millstream.schemas import DeadReason, EventKind

MOST_INTERRUPTIONS = 3
HOST_PAUSE_S = 1.0
"""How long nothing of a kind is started after the host could not start a thread or a process."""


class UnknownJobType(LookupError):
    """No handler of this worker has the request's job type."""


class UnexpectedCancellation(RuntimeError):
    """The handler was cancelled again and again, and not by the worker."""


class PutBack(NamedTuple):
    """The attempt has no outcome, for a cause that is not the job's: it waits again, and its kind of slots is paused
    for `pause_s` seconds."""

    reason: str
    pause_s: float = 0.0


class AttemptRunner:
    """Runs attempts on the runners. Used by the event loop's thread only. `redaction` is applied to the texts of
    outcomes, before anything is written of them."""

    def __init__(
        self,
        jobs: JobTypes,
        cancellations: Cancellations,
        runners: Mapping[RunsOn, Runner],
        redaction: Redaction | None = None,
    ) -> None:
        self._jobs = jobs
        self._cancellations = cancellations
        self._runners = runners
        self._redaction = redaction or Redaction()

    async def run(self, execution: Execution, runs_on: RunsOn) -> Outcome | PutBack:
        """Run an execution that has begun. Raises nothing, whatever the handler does."""
        try:
            ended: Outcome | PutBack = await self._outcome(execution, runs_on)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt raised by a handler are the job's failure, not the worker's end.
            execution.stop_clock()
            ended = self._raised(execution, error)
        return ended if execution.ends_as is None else execution.ends_as

    def conclude(self, execution: Execution, ended: Outcome) -> None:
        """Note the outcome of an execution, with what else is known of its job."""
        if ended is not SUCCEEDED and ended.kind is EventKind.TIMED_OUT and deadline_passed(execution):
            # The next attempt would be too late as well.
            ended = replace(ended, retryable=False)
        ended = outcome.redacted(ended, self._redaction)
        if self._cancellations and execution.job_id in self._cancellations:
            execution.cancel_command_active = True
        execution.end(ended)

    async def _outcome(self, execution: Execution, runs_on: RunsOn) -> Outcome:
        if self._cancellations:
            reason = self._cancellations.get(execution.job_id, execution.read.submitted_us)
            if reason is not None:
                return outcome.cancelled(reason)
        job_type = self._jobs.get(execution.job_type)
        if job_type is None:
            known = ", ".join(sorted(each.name for each in self._jobs)) or "none"
            text = f"no handler for job type {execution.job_type!r}; the job types of this worker: {known}"
            return outcome.rejected(DeadReason.UNKNOWN_TYPE, UnknownJobType(text))
        if execution.read.deadline and deadline_passed(execution):
            return outcome.timed_out(f"its deadline {execution.read.deadline} passed before it could start")
        return await self._runners[runs_on].run(job_type, execution)

    @staticmethod
    def _raised(execution: Execution, error: BaseException) -> Outcome | PutBack:
        if isinstance(error, NotStarted):
            return PutBack(str(error), HOST_PAUSE_S)
        if not isinstance(error, asyncio.CancelledError):
            return outcome.failed(error)
        # The worker cancels only what has an `ends_as`: another handler did it, or what this one waited for.
        execution.interruptions += 1
        if execution.interruptions <= MOST_INTERRUPTIONS:
            return PutBack("its handler was cancelled, and not by the worker")
        text = f"cancelled at each of {execution.interruptions} starts, and not by the worker"
        return outcome.failed(UnexpectedCancellation(text).with_traceback(error.__traceback__))
