"""Runs handlers: coroutines on one event loop in its own thread, plain functions in a pool of threads."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog
from pydantic import ValidationError

from millstream.consumers.worker import outcome
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.context import JobContext
from millstream.consumers.worker.execution import Execution
from millstream.consumers.worker.jobs import JobType, JobTypes
from millstream.consumers.worker.narrator import Narrator, OutgoingRecord
from millstream.consumers.worker.outcome import SUCCEEDED, Outcome
from millstream.schemas import DeadReason

log = structlog.get_logger(__name__)


class UnknownJobType(LookupError):
    """No handler of this worker has the request's job type."""


@dataclass(slots=True)
class _Places:
    """Where executions of one kind run: how many at once, which run, and which wait for a place."""

    limit: int
    waiting: deque[Execution] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)


class Executor:
    """Runs executions in the order they were submitted: at most `concurrency` coroutines and `threads` plain functions
    at once, each kind with its own queue, so that neither waits behind the other.

    Any thread may call `submit`; `finished` and `told` are filled on the loop's thread and emptied by the poll thread
    (appending to and popping from a deque need no lock).
    """

    def __init__(self, jobs: JobTypes, narrator: Narrator, config: WorkerConfig) -> None:
        self.finished: deque[Execution] = deque()
        self.told: deque[OutgoingRecord] = deque()
        self._jobs = jobs
        self._narrator = narrator
        self._places = {"loop": _Places(config.concurrency), "thread": _Places(config.threads)}
        self._accepting = True
        self._threads = ThreadPoolExecutor(config.threads, thread_name_prefix="millstream-job")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="millstream-loop", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, executions: Iterable[Execution]) -> None:
        """Queue executions; returns at once."""
        self._loop.call_soon_threadsafe(self._admit, list(executions))

    @property
    def running(self) -> int:
        return sum(len(places.running) for places in self._places.values())

    @property
    def waiting(self) -> int:
        return sum(len(places.waiting) for places in self._places.values())

    def stop_starting(self) -> None:
        """Start no more executions; what waits will be redelivered to another worker."""
        self._accepting = False

    def stop(self) -> None:
        """Cancel what still runs and end the threads. Outcomes that come after this are not written."""
        self._accepting = False
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _admit(self, executions: list[Execution]) -> None:
        for execution in executions:
            job_type = self._jobs.get(execution.read.request.job_type)
            self._places[job_type.runs_on if job_type else "loop"].waiting.append(execution)
        for places in self._places.values():
            self._fill(places)

    def _fill(self, places: _Places) -> None:
        while self._accepting and places.waiting and len(places.running) < places.limit:
            execution = places.waiting.popleft()
            if execution.assignment.starting:
                task = self._loop.create_task(self._execute(execution))
                places.running.add(task)
                task.add_done_callback(partial(self._leave, places))

    def _leave(self, places: _Places, task: asyncio.Task[None]) -> None:
        places.running.discard(task)
        self._fill(places)

    async def _execute(self, execution: Execution) -> None:
        execution.begin()
        self.told.append(self._narrator.started(execution))
        try:
            ended = await self._attempt(execution)
        except BaseException as error:
            # SystemExit or KeyboardInterrupt raised by a handler is the job's failure, not the worker's end.
            execution.stop_clock()
            ended = outcome.failed(error)
        execution.end(ended)
        self.finished.append(execution)

    async def _attempt(self, execution: Execution) -> Outcome:
        request = execution.read.request
        job_type = self._jobs.get(request.job_type)
        if job_type is None:
            known = ", ".join(sorted(each.name for each in self._jobs)) or "none"
            text = f"no handler for job type {request.job_type!r}; this worker knows: {known}"
            return outcome.refused(DeadReason.UNKNOWN_TYPE, UnknownJobType(text))
        if request.deadline and request.deadline <= datetime.now(UTC):
            return outcome.timed_out(f"its deadline {request.deadline.isoformat()} passed before it could start")
        context = JobContext(
            request, execution.execution_id, lambda fraction, text: self._tell_progress(execution, fraction, text)
        )
        try:
            arguments = job_type.arguments(request.payload, context)
        except ValidationError as error:
            return outcome.refused(DeadReason.INVALID_PAYLOAD, error)
        limit = _timeout_s(job_type, execution)
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                if job_type.runs_on == "loop":
                    await execution.cpu.coroutine(job_type.handler(*arguments))
                else:
                    await self._in_thread(job_type, execution, arguments)
        except TimeoutError:
            if not deadline.expired():
                raise
            context.cancelled = True
            return outcome.timed_out(f"still running after {limit:g} s")
        return SUCCEEDED

    async def _in_thread(self, job_type: JobType, execution: Execution, arguments: tuple[object, ...]) -> None:
        context = contextvars.copy_context()
        await self._loop.run_in_executor(self._threads, context.run, execution.cpu.call, job_type.handler, *arguments)

    def _tell_progress(self, execution: Execution, fraction: float, message: str) -> None:
        self.told.append(self._narrator.progress(execution, datetime.now(UTC), fraction, message))


def _timeout_s(job_type: JobType, execution: Execution) -> float | None:
    """The shortest of what the handler allows, what the request asks for, and what is left until the deadline."""
    request = execution.read.request
    limits = [job_type.timeout_s]
    if request.timeout_ms is not None:
        limits.append(request.timeout_ms / 1000)
    if request.deadline is not None:
        limits.append(max(0.0, (request.deadline - datetime.now(UTC)).total_seconds()))
    return min((limit for limit in limits if limit is not None), default=None)
