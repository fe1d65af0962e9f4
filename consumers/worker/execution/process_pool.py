"""Processes for handlers that must not share the worker's fate.

Each place is a spawned child that runs one job at a time. A child that crashes, is killed, outgrows its memory or runs
past its time ends alone; what became of it is the outcome of its job, and the next job of the place gets a new child.
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
from millstream.consumers.worker.execution.process_child import Alive, Answer, Progress, Task, serve

LOOK_EVERY_S = 0.05
MIB = 1024 * 1024


class HandlerCrashed(RuntimeError):
    """The process that ran the handler ended before the handler did."""


class MemoryExceeded(RuntimeError):
    """The handler used more memory than its job type may."""


class Limits(NamedTuple):
    """The longest run in seconds, the most resident memory in bytes, the longest silence in seconds; None for none."""

    seconds: float | None = None
    rss_bytes: int | None = None
    silence_s: float | None = None


class ProcessPlace:
    """One child process at a time. Used by one thread; `kill` may be called by any."""

    def __init__(self) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self._child: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def run(
        self, task: Task, limits: Limits, cancelled: threading.Event, on_progress: Callable[[float, str], None]
    ) -> Answer:
        """Run a task to its end, whichever that is; `cancelled` ends it within a moment. Blocks.

        Raises what `on_progress` or the pipe raises; the child has ended then, so that its late answer is never taken
        for the answer of the next task.
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
        self, task: Task, limits: Limits, cancelled: threading.Event, on_progress: Callable[[float, str], None]
    ) -> Answer:
        child, pipe = self._ready()
        pipe.send(task)
        watched = psutil.Process(child.pid)
        began = heard_at = math.inf
        peak, cpu_ms = 0, 0.0
        while True:
            try:
                if pipe.poll(LOOK_EVERY_S):
                    said: Progress | Alive | Answer = pipe.recv()
                    # A thread that an earlier handler left behind may go on speaking.
                    if said.execution_id == task.execution_id:
                        heard_at = time.monotonic()
                        began = min(began, heard_at)
                        if isinstance(said, Answer):
                            return said
                        if isinstance(said, Progress):
                            on_progress(said.fraction, said.message)
                elif not child.is_alive() and not pipe.poll():
                    # A process that the handler forked may hold the pipe open long after the child's end.
                    raise EOFError
            except (EOFError, ConnectionError):
                return Answer(task.execution_id, self._post_mortem(peak), cpu_ms, peak)
            try:
                peak = max(peak, watched.memory_info().rss)
                times = watched.cpu_times()
                cpu_ms = (times.user + times.system) * 1000
            except psutil.Error:
                continue
            now = time.monotonic()
            ended = _broken_limit(limits, now - began, peak, now - heard_at)
            if cancelled.is_set():
                ended = outcome.cancelled("cancelled while it ran, its process was killed")
            if ended:
                self._end()
                return Answer(task.execution_id, ended, cpu_ms, peak)

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

    def _post_mortem(self, peak: int) -> Outcome:
        assert self._child is not None
        self._child.join()
        code = self._child.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        self._end()
        return outcome.failed(HandlerCrashed(f"the handler's process {how}; its peak memory was {peak // MIB} MiB"))


def _broken_limit(limits: Limits, seconds: float, rss_bytes: int, silence_s: float) -> Outcome | None:
    if limits.seconds is not None and seconds > limits.seconds:
        return outcome.timed_out(f"still running after {limits.seconds:g} s, its process was killed")
    if limits.silence_s is not None and silence_s > limits.silence_s:
        return outcome.timed_out(f"no heartbeat for {limits.silence_s:g} s, its process was killed")
    if limits.rss_bytes is not None and rss_bytes > limits.rss_bytes:
        text = f"used {rss_bytes // MIB} MiB of the {limits.rss_bytes // MIB} MiB it may, its process was killed"
        return outcome.failed(MemoryExceeded(text))
    return None
