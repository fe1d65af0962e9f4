"""Child processes for handlers that must not end or block the worker.

Each slot is a child that runs one job at a time. A child that crashes, is killed, exceeds its memory or its time ends
alone, with the programs that it started; how it ended is the outcome of its job, and the next job of the slot gets a
new child. A child that cannot be started, or ends before it takes the job, is no fault of the job.
"""

import contextlib
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import ORIGINAL_DIR  # type: ignore[attr-defined]
from multiprocessing.spawn import get_preparation_data
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.consumers.worker.execution.process_child import (
    ChildSetup,
    HandlerFound,
    ProcessTask,
    ProgressMessage,
    Said,
    TaskAnswer,
    main,
)
from millstream.consumers.worker.execution.process_tree import ProcessTree

POLL_S = 0.05
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 1.0
"""How long a child that has closed its pipe may take to end by itself."""

MIB = 1024 * 1024
CANCELLED = "cancelled while it ran, its process was killed"


class HandlerCrashed(RuntimeError):
    """The process that ran the handler ended before the handler did."""


class ChildUnavailable(RuntimeError):
    """No process can run a handler now. The handler was not called."""


class MemoryExceeded(RuntimeError):
    """The handler used more memory than its job type may."""


class ProcessLimits(NamedTuple):
    """Longest run in seconds, most resident memory in bytes, longest time without a heartbeat in seconds; None for no
    limit."""

    seconds: float | None = None
    rss_bytes: int | None = None
    silence_s: float | None = None


class _Child(NamedTuple):
    """A child process, the pipe to it, and what it started."""

    process: "subprocess.Popen[bytes]"
    pipe: Connection
    tree: ProcessTree


class ProcessSlot:
    """One child process at a time. Used by one thread; `kill` may be called by any.

    `set_up` is called in each child before its first task.
    """

    def __init__(self, set_up: ChildSetup | None = None) -> None:
        """Raises what `pickle` raises when `set_up` cannot be sent to a child."""
        self._set_up = pickle.dumps(set_up)
        # Read now: a handler may later remove the working directory, which this asks for.
        data = get_preparation_data("millstream-job")
        self._preparation = {key: value for key, value in data.items() if key not in ("authkey", "dir")}
        self._child: _Child | None = None

    def run(
        self,
        task: ProcessTask,
        limits: ProcessLimits,
        cancelled: threading.Event,
        on_progress: Callable[[float, str], None],
        on_begun: Callable[[], None] = lambda: None,
    ) -> TaskAnswer:
        """Run a task to its end, however it ends. Setting `cancelled` ends it within `POLL_S`. Blocks. `on_begun` is
        called when the child, which may have to be started first, has taken the task, and again when it has imported
        the handler's module.

        Raises `ChildUnavailable`, and what `on_progress` or the pipe raises. The child has ended then, so that its late
        answer is never taken for that of the next task.
        """
        try:
            return self._run(self._ready(), task, limits, cancelled, on_progress, on_begun)
        except BaseException:
            self._end()
            raise

    def kill(self) -> None:
        """Kill the child and all that it started, if there is one; a `run` under way ends."""
        if (child := self._child) is not None and child.process.poll() is None:
            child.tree.kill()

    def _run(
        self,
        child: _Child,
        task: ProcessTask,
        limits: ProcessLimits,
        cancelled: threading.Event,
        on_progress: Callable[[float, str], None],
        on_begun: Callable[[], None],
    ) -> TaskAnswer:
        run = _Run(child, task.execution_id, on_progress, on_begun)
        try:
            child.pipe.send(task)
        except ConnectionError as error:
            raise ChildUnavailable(f"the process for handlers has ended: {error}") from error
        while True:
            try:
                if (answer := run.receive()) is not None:
                    return answer
                run.measure()
            except (EOFError, ConnectionError):
                return self._crashed(child, run)
            except psutil.Error:
                continue
            ended = outcome.cancelled(CANCELLED) if cancelled.is_set() else run.exceeded(limits)
            if ended is not None:
                self._end()
                return run.answer(ended)

    def _crashed(self, child: _Child, run: "_Run") -> TaskAnswer:
        how = self._how_it_ended(child)
        if not run.begun:
            raise ChildUnavailable(f"the process for handlers {how} before it took a job")
        text = f"the handler's process {how}; its peak memory was {run.peak_bytes // MIB} MiB"
        return run.answer(outcome.failed(HandlerCrashed(text)))

    def _how_it_ended(self, child: _Child) -> str:
        """Wait for the end of a child that ends by itself, and end what it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(ENDS_WITHIN_S)
        self._end()
        code = child.process.returncode
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.pipe.close()
            child.tree.kill()
            child.process.wait()

    def _ready(self) -> _Child:
        """The child. Raises `ChildUnavailable`."""
        if self._child is None or self._child.process.poll() is not None:
            self._end()
            try:
                self._child = _start_child(self._preparation, self._set_up)
            except (OSError, psutil.Error) as error:
                raise ChildUnavailable(f"a process for handlers cannot be started: {error}") from error
        return self._child


class _Run:
    """What is known of a task that a child runs."""

    def __init__(
        self,
        child: _Child,
        execution_id: str,
        on_progress: Callable[[float, str], None],
        on_begun: Callable[[], None],
    ) -> None:
        self._child = child
        self._execution_id = execution_id
        self._on_progress = on_progress
        self._on_begun = on_begun
        self._sent_at = time.monotonic()
        self._began = self._received_at = math.inf
        self._cpu_before_ms = self._cpu_ms = 0.0
        self.peak_bytes = 0

    @property
    def begun(self) -> bool:
        """Whether the child has taken the task."""
        return self._began < math.inf

    def receive(self) -> TaskAnswer | None:
        """Wait for a message for at most `POLL_S` seconds; returns the child's answer. Raises EOFError when the child
        has ended, and what `on_progress` raises."""
        child = self._child
        if not child.pipe.poll(POLL_S):
            # A process that the handler forked may hold the pipe open long after the child's end.
            if child.process.poll() is not None and not child.pipe.poll():
                raise EOFError
            return None
        message: Said | TaskAnswer = child.pipe.recv()
        # A thread that an earlier handler left behind may still send messages.
        if message.execution_id != self._execution_id:
            return None
        self._received_at = time.monotonic()
        if not self.begun or isinstance(message, HandlerFound):
            self._began = self._received_at
            self._on_begun()
            self._cpu_before_ms = child.tree.usage().cpu_ms
        if isinstance(message, ProgressMessage):
            self._on_progress(message.fraction, message.message)
        if not isinstance(message, TaskAnswer):
            return None
        return replace(message, peak_rss_bytes=max(self.peak_bytes, message.peak_rss_bytes))

    def measure(self) -> None:
        """Measure what the child uses. Raises `psutil.Error` when it has ended."""
        used = self._child.tree.usage()
        self.peak_bytes, self._cpu_ms = max(self.peak_bytes, used.rss_bytes), used.cpu_ms - self._cpu_before_ms

    def exceeded(self, limits: ProcessLimits) -> Outcome | None:
        """The outcome of a task that has exceeded a limit. Raises `ChildUnavailable` when the child does not start."""
        now = time.monotonic()
        if not self.begun:
            if now - self._sent_at > STARTS_WITHIN_S:
                raise ChildUnavailable(f"the process for handlers did not start within {STARTS_WITHIN_S:g} s")
            return None
        if limits.seconds is not None and now - self._began > limits.seconds:
            return outcome.timed_out(f"still running after {limits.seconds:g} s, its process was killed")
        if limits.silence_s is not None and now - self._received_at > limits.silence_s:
            return outcome.timed_out(f"no heartbeat for {limits.silence_s:g} s, its process was killed")
        if limits.rss_bytes is not None and self.peak_bytes > limits.rss_bytes:
            allowed = limits.rss_bytes // MIB
            text = f"used {self.peak_bytes // MIB} MiB of the {allowed} MiB it may, its process was killed"
            return outcome.failed(MemoryExceeded(text))
        return None

    def answer(self, ended: Outcome) -> TaskAnswer:
        """The answer for a child that gives none."""
        return TaskAnswer(self._execution_id, ended, self._cpu_ms if self.begun else 0.0, self.peak_bytes)


def _start_child(preparation: dict[str, Any], set_up: bytes) -> _Child:
    """Start a child as the leader of a session and process group of its own, in the directory in which the worker was
    started: a handler may have changed the worker's own, and removed it. Raises OSError and `psutil.Error`."""
    folder = ORIGINAL_DIR if ORIGINAL_DIR and Path(ORIGINAL_DIR).is_dir() else "/"
    path = [each or folder for each in sys.path]
    ours, theirs = Pipe()
    process: subprocess.Popen[bytes] | None = None
    try:
        # The same flags of the interpreter as for a process that multiprocessing spawns.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        call = f"import sys; sys.path[:] = {path!r}; from {main.__module__} import main; "
        call += f"main({theirs.fileno()}, {os.getpid()})"
        process = subprocess.Popen(
            [sys.executable, *flags, "-c", call],
            stdin=subprocess.DEVNULL,
            cwd=folder,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        ours.send(preparation | {"sys_path": path})
        ours.send_bytes(set_up)
        return _Child(process, ours, ProcessTree(process.pid))
    except BaseException:
        ours.close()
        if process is not None:
            process.kill()
            process.wait()
        raise
    finally:
        theirs.close()
