"""CPU time and memory of attempts.

Many coroutines share a thread, so each step of one is measured. What a handler starts through asyncio belongs to its
attempt as well: tasks (`create_task`, `gather`, `TaskGroup`), which inherit a context variable that says whose they are
(`current_job.py`). Threads, programs and pools: `metered_starts.py`.
"""

import asyncio
import contextvars
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

import psutil

from millstream.consumers.worker.execution.current_job import Attempt, current_attempt
from millstream.consumers.worker.execution.started_work import thread_cpu_ns

T = TypeVar("T")

_CALL = "call_in_thread"


def meter_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Count the CPU time of the tasks of this loop for the attempts that start them."""
    loop.set_task_factory(_create_task)


@types.coroutine
def metered(
    consumer: Attempt, run: Coroutine[Any, Any, T], on_first_wait: Callable[[], None]
) -> Generator[Any, Any, T]:
    """Run a coroutine in a context of its own. Many coroutines share a thread: only this one's steps are counted.

    `on_first_wait` is called once, before the first thing that it awaits. A coroutine that never waits ends without the
    event loop having run anything else.
    """
    step = contextvars.copy_context().run
    step(current_attempt.set, consumer)
    resume: Callable[[Any], Any] = run.send
    value: Any = None
    waited = False
    while True:
        begun = time.thread_time_ns()
        try:
            awaited = step(resume, value)
        except StopIteration as finished:
            result: T = finished.value
            return result
        finally:
            consumer.cpu_ns += time.thread_time_ns() - begun
        if not waited:
            waited = True
            on_first_wait()
        try:
            value = yield awaited
            resume = run.send
        except GeneratorExit:
            run.close()
            raise
        except BaseException as error:
            value, resume = error, run.throw


def metered_call(consumer: Attempt, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in this thread and count its CPU time, unless `count_until_now` has done it before the end."""
    begun = time.thread_time_ns()
    vars(consumer)[_CALL] = threading.get_ident(), begun
    try:
        return function(*arguments)
    finally:
        used_ns = time.thread_time_ns() - begun
        if vars(consumer).pop(_CALL, None):
            consumer.cpu_ns += used_ns


def count_until_now(consumer: Attempt) -> None:
    """Count what a call by `metered_call` that goes on has used so far, and nothing more of it. Its thread must not end
    meanwhile."""
    # Taken from the dictionary, so that one of two threads counts it.
    if (call := vars(consumer).pop(_CALL, None)) is not None:
        consumer.cpu_ns += thread_cpu_ns(*call)


def _create_task(loop: asyncio.AbstractEventLoop, run: Any, **options: Any) -> "asyncio.Task[Any]":
    context = options.get("context")
    consumer = current_attempt.get(None) if context is None else context.get(current_attempt)
    if consumer is not None:
        run = _MeteredCoroutine(consumer, run)
    return asyncio.Task(run, loop=loop, **options)


class _MeteredCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are counted; otherwise the one that it stands for."""

    def __init__(self, consumer: Attempt, run: Coroutine[Any, Any, Any]) -> None:
        self._metered_for = consumer
        self._run = run

    def send(self, value: Any) -> Any:
        begun = time.thread_time_ns()
        try:
            return self._run.send(value)
        finally:
            self._metered_for.cpu_ns += time.thread_time_ns() - begun

    def throw(self, *error: Any) -> Any:
        begun = time.thread_time_ns()
        try:
            return self._run.throw(*error)
        finally:
            self._metered_for.cpu_ns += time.thread_time_ns() - begun

    def close(self) -> None:
        self._run.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._run.__await__()

    def __getattr__(self, name: str) -> Any:
        # What asyncio and debuggers ask a coroutine for: its name, code and frame.
        return getattr(self._run, name)


class MemoryGauge:
    """Resident memory of this process, read at most every `interval_s` seconds.

    Attempts on the loop and in threads share the process, so it is an upper bound for each of them.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self._process = psutil.Process()
        self._interval_s = interval_s
        self._read_at = float("-inf")
        self._bytes = 0

    @property
    def rss_bytes(self) -> int:
        """Bytes."""
        now = time.monotonic()
        if now - self._read_at >= self._interval_s:
            self._bytes = self._process.memory_info().rss
            self._read_at = now
        return self._bytes
