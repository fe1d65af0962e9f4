"""One attempt of one job: whether it may run at all, how it ran, and its outcome."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.cancellations import Cancellations
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.registry import JobTypes, RunsOn
from millstream.consumers.worker.execution.runners import Runner
from millstream.consumers.worker.execution.time_limits import deadline_passed
from millstream.schemas import DeadReason, EventKind


class UnknownJobType(LookupError):
    """No handler of this worker has the request's job type."""


class AttemptRunner:
    """Runs attempts on the runners. Used by the event loop's thread only."""

    def __init__(self, jobs: JobTypes, cancellations: Cancellations, runners: Mapping[RunsOn, Runner]) -> None:
        self._jobs = jobs
        self._cancellations = cancellations
        self._runners = runners

    async def run(self, execution: Execution, runs_on: RunsOn) -> None:
        """Run an execution that has begun, and note its outcome. Raises nothing, whatever the handler does."""
        try:
            ended = await self._outcome(execution, runs_on)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt raised by a handler are the job's failure, not the worker's end.
            execution.stop_clock()
            if execution.cancelled and isinstance(error, asyncio.CancelledError):
                ended = outcome.cancelled(execution.cancelled)
            else:
                ended = outcome.failed(error)
        if ended is not SUCCEEDED and ended.kind is EventKind.TIMED_OUT and deadline_passed(execution):
            # The next attempt would be too late as well.
            ended = replace(ended, retryable=False)
        if self._cancellations and execution.job_id in self._cancellations:
            execution.cancel_command_active = True
        execution.end(ended)

    async def _outcome(self, execution: Execution, runs_on: RunsOn) -> Outcome:
        job_type = self._jobs.get(execution.job_type)
        if job_type is None:
            known = ", ".join(sorted(each.name for each in self._jobs)) or "none"
            text = f"no handler for job type {execution.job_type!r}; the job types of this worker: {known}"
            return outcome.rejected(DeadReason.UNKNOWN_TYPE, UnknownJobType(text))
        if self._cancellations and (reason := self._cancellations.get(execution.job_id)) is not None:
            return outcome.cancelled(reason)
        if execution.read.template.deadline and deadline_passed(execution):
            return outcome.timed_out(f"its deadline {execution.read.template.deadline} passed before it could start")
        return await self._runners[runs_on].run(job_type, execution)
