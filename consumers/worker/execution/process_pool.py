"""Child processes for handlers that must not end or block the worker.

Each slot is a spawned child that runs one job at a time. A child that crashes, is killed, exceeds its memory or its
time ends alone; how it ended is the outcome of its job, and the next job of the slot gets a new child.
"""

import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

import psutil

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.consumers.worker.execution.process_child import (
    HeartbeatMessage,
    ProcessTask,
    ProgressMessage,
    TaskAnswer,
    serve,
)

POLL_S = 0.05
MIB = 1024 * 1024


class HandlerCrashed(RuntimeError):
    """The process that ran the handler ended before the handler did."""


class MemoryExceeded(RuntimeError):
    """The handler used more memory than its job type may."""


class ProcessLimits(NamedTuple):
    """Longest run in seconds, most resident memory in bytes, longest time without a heartbeat in seconds; None for no
    limit."""

    seconds: float | None = None
    rss_bytes: int | None = None
    silence_s: float | None = None


class ProcessSlot:
    """One child process at a time. Used by one thread; `kill` may be called by any."""

    def __init__(self) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self._child: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def run(
        self,
        task: ProcessTask,
        limits: ProcessLimits,
        cancelled: threading.Event,
        on_progress: Callable[[float, str], None],
    ) -> TaskAnswer:
        """Run a task to its end, however it ends. Setting `cancelled` ends it within `POLL_S`. Blocks.

        Raises what `on_progress` or the pipe raises. The child has ended then, so that its late answer is never taken
        for that of the next task.
        """
        try:
            return self._run(task, limits, cancelled, on_progress)
        except BaseException:
            self._end()
            raise

    def kill(self) -> None:
        """Kill the child, if there is one; a `run` under way ends."""
        if (child := self._child) is not None:
            child.kill()

    def _run(
        self,
        task: ProcessTask,
        limits: ProcessLimits,
        cancelled: threading.Event,
        on_progress: Callable[[float, str], None],
    ) -> TaskAnswer:
        child, pipe = self._ready()
        pipe.send(task)
        watched = psutil.Process(child.pid)
        began = received_at = math.inf
        peak, cpu_ms = 0, 0.0
        while True:
            try:
                if pipe.poll(POLL_S):
                    message: ProgressMessage | HeartbeatMessage | TaskAnswer = pipe.recv()
                    # A thread that an earlier handler left behind may still send messages.
                    if message.execution_id == task.execution_id:
                        received_at = time.monotonic()
                        began = min(began, received_at)
                        if isinstance(message, TaskAnswer):
                            return message
                        if isinstance(message, ProgressMessage):
                            on_progress(message.fraction, message.message)
                elif not child.is_alive() and not pipe.poll():
                    # A process that the handler forked may hold the pipe open long after the child's end.
                    raise EOFError
            except (EOFError, ConnectionError):
                return TaskAnswer(task.execution_id, self._crash_outcome(peak), cpu_ms, peak)
            try:
                peak = max(peak, watched.memory_info().rss)
                times = watched.cpu_times()
                cpu_ms = (times.user + times.system) * 1000
            except psutil.Error:
                continue
            now = time.monotonic()
            ended = _exceeded_limit(limits, now - began, peak, now - received_at)
            if cancelled.is_set():
                ended = outcome.cancelled("cancelled while it ran, its process was killed")
            if ended:
                self._end()
                return TaskAnswer(task.execution_id, ended, cpu_ms, peak)

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()
        if self._pipe is not None:
            self._pipe.close()
        self._child = self._pipe = None

    def _ready(self) -> tuple[SpawnProcess, Connection]:
        if self._child is None or self._pipe is None or not self._child.is_alive():
            self._end()
            self._pipe, theirs = self._spawn.Pipe()
            self._child = self._spawn.Process(target=serve, args=(theirs,), daemon=True, name="millstream-job")
            self._child.start()
            theirs.close()
        return self._child, self._pipe

    def _crash_outcome(self, peak: int) -> Outcome:
        assert self._child is not None
        self._child.join()
        code = self._child.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        self._end()
        return outcome.failed(HandlerCrashed(f"the handler's process {how}; its peak memory was {peak // MIB} MiB"))


def _exceeded_limit(limits: ProcessLimits, seconds: float, rss_bytes: int, silence_s: float) -> Outcome | None:
    if limits.seconds is not None and seconds > limits.seconds:
        return outcome.timed_out(f"still running after {limits.seconds:g} s, its process was killed")
    if limits.silence_s is not None and silence_s > limits.silence_s:
        return outcome.timed_out(f"no heartbeat for {limits.silence_s:g} s, its process was killed")
    if limits.rss_bytes is not None and rss_bytes > limits.rss_bytes:
        text = f"used {rss_bytes // MIB} MiB of the {limits.rss_bytes // MIB} MiB it may, its process was killed"
        return outcome.failed(MemoryExceeded(text))
    return None
