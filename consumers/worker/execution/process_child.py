"""The program of a child process: runs one handler at a time, with tasks and answers over a pipe."""

import asyncio
import contextlib
import importlib
import multiprocessing.spawn
import pickle
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from millstream.consumers.parent_death import signal_on_parent_death
from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.current_job import LoggedJob, current_attempt
from millstream.consumers.worker.execution.facts import MESSAGE_LIMIT
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.metered_starts import meter_what_is_started
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.registry import JobType, describe
from millstream.consumers.worker.execution.returned import awaited, still_to_run
from millstream.consumers.worker.execution.started_work import cpu_ns, max_rss_bytes, waited_for_cpu_ns
from millstream.redaction import MARGIN
from millstream.schemas import DeadReason, JobRequest

ChildSetup = Callable[[], None]
"""Prepares a child process, such as its logging."""

MESSAGE_LENGTH = MESSAGE_LIMIT + MARGIN
"""Characters of a progress message that are sent."""


@dataclass(frozen=True, slots=True)
class ProcessTask:
    """A job for a child process: its handler by name, and the request."""

    module: str
    qualname: str
    job_type: str
    execution_id: str
    request: JobRequest


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """The handler reported how far it is."""

    execution_id: str
    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class HeartbeatMessage:
    """The handler sent a heartbeat."""

    execution_id: str


@dataclass(frozen=True, slots=True)
class HandlerFound:
    """The handler's module is imported, which takes long for the first job of a child: the handler starts now."""

    execution_id: str


Said = ProgressMessage | HeartbeatMessage | HandlerFound


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """How a task ended and what it used: CPU time in ms, peak resident memory in bytes."""

    execution_id: str
    outcome: Outcome
    cpu_ms: float
    peak_rss_bytes: int


class _Answers:
    """The pipe to the worker. A handler may report from several threads; their messages must not mix."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: Said | TaskAnswer) -> None:
        """Send one message whole."""
        with self._lock:
            self._pipe.send(message)


def main(descriptor: int, parent_pid: int) -> None:
    """The entry point of a child process. `descriptor`: its end of the pipe, on which follow the data that
    `multiprocessing` prepares a spawned process with, the pickled `ChildSetup` or None, and then tasks."""
    signal_on_parent_death(signal.SIGKILL, parent_pid)
    # The worker decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pipe = Connection(descriptor)
    multiprocessing.spawn.prepare(pipe.recv())
    set_up: ChildSetup | None = pickle.loads(pipe.recv_bytes())
    if set_up is not None:
        set_up()
    meter_what_is_started()
    _serve(pipe)


def _serve(pipe: Connection) -> None:
    """Answer tasks until the pipe is closed."""
    answers = _Answers(pipe)
    known: dict[str, JobType] = {}
    while True:
        try:
            task: ProcessTask = pipe.recv()
        except EOFError:
            return
        answers.send(HeartbeatMessage(task.execution_id))
        _reset_peak()
        found = _find(task, known)
        # Neither the start of the interpreter nor the import of the module is the job's.
        answers.send(HandlerFound(task.execution_id))
        job = _job(task)
        begun = _cpu_ns()
        ended = found if isinstance(found, Outcome) else _run(task, found, job, answers)
        used_ns, peak_rss_bytes = _cpu_ns() - begun, _peak_rss_bytes()
        if job.started is not None:
            used = job.started.close()
            used_ns += used.programs_cpu_ns
            peak_rss_bytes = max(peak_rss_bytes, used.peak_rss_bytes)
        answers.send(TaskAnswer(task.execution_id, ended, used_ns / 1e6, peak_rss_bytes))


def _find(task: ProcessTask, known: dict[str, JobType]) -> JobType | Outcome:
    """The handler, or the failure of importing its module."""
    try:
        if task.job_type not in known:
            known[task.job_type] = _import(task)
        return known[task.job_type]
    except BaseException as error:
        return outcome.failed(error)


def _job(task: ProcessTask) -> LoggedJob:
    request = task.request
    fields = {"job_id": request.job_id, "attempt": request.attempt, "job_type": task.job_type, "tenant": request.tenant}
    return LoggedJob(fields)


def _run(task: ProcessTask, job_type: JobType, job: LoggedJob, answers: _Answers) -> Outcome:
    def on_progress(fraction: float, message: str) -> None:
        answers.send(ProgressMessage(task.execution_id, fraction, message[:MESSAGE_LENGTH]))

    current_attempt.set(job)
    try:
        context = JobContext(
            task.request,
            task.execution_id,
            on_progress,
            lambda: answers.send(HeartbeatMessage(task.execution_id)),
        )
        try:
            arguments = job_type.arguments(task.request.payload, context)
        except ValidationError as error:
            return outcome.rejected(DeadReason.INVALID_PAYLOAD, error)
        returned = job_type.handler(*arguments)
        while (run := still_to_run(returned)) is not None:
            returned = asyncio.run(awaited(run))
    except BaseException as error:
        # SystemExit raised by a handler fails the job; it does not end the child.
        return outcome.failed(error)
    return SUCCEEDED


def _import(task: ProcessTask) -> JobType:
    found: Any = importlib.import_module(task.module)
    for part in task.qualname.split("."):
        found = getattr(found, part)
    return describe(task.job_type, found)


def _cpu_ns() -> int:
    """CPU time of this process with all its threads, and of what it waited for in ways that no attempt is told of."""
    return cpu_ns(map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))) - waited_for_cpu_ns()


def _reset_peak() -> None:
    """Reset the kernel's record of this process's peak memory, so that each task has its own. Where that is not
    allowed, the peak is that of the process so far."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak_rss_bytes() -> int:
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return max_rss_bytes(resource.getrusage(resource.RUSAGE_SELF))
