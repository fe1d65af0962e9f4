"""CPU time and memory of attempts.

Many coroutines share a thread, so each step of one is measured. What a handler starts through asyncio belongs to its
attempt as well: tasks (`create_task`, `gather`, `TaskGroup`) and functions in asyncio's threads (`to_thread`). Both
inherit a context variable that says whose they are (`current_job.py`).
"""

import asyncio
import contextvars
import time
import types
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import psutil

from millstream.consumers.worker.execution.current_job import Attempt, current_attempt

T = TypeVar("T")


def meter_what_handlers_start(loop: asyncio.AbstractEventLoop) -> None:
    """Count the CPU time of the tasks and of asyncio's threads of this loop for the attempts that start them."""
    loop.set_task_factory(_create_task)
    loop.set_default_executor(_MeteredThreads(loop))


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
    """Call a function in this thread and count its CPU time."""
    begun = time.thread_time_ns()
    try:
        return function(*arguments)
    finally:
        consumer.cpu_ns += time.thread_time_ns() - begun


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


class _MeteredThreads(ThreadPoolExecutor):
    """The threads of `to_thread` and `run_in_executor(None, ...)`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(thread_name_prefix="millstream-asyncio")
        self._loop = loop

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> "Future[T]":
        consumer = current_attempt.get(None)
        if consumer is None:
            return super().submit(function, *arguments, **named)
        return super().submit(self._call, consumer, function, arguments, named)

    def _call(
        self, consumer: Attempt, function: Callable[..., T], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> T:
        begun = time.thread_time_ns()
        try:
            return function(*arguments, **named)
        finally:
            # On the loop's thread, which counts as well, and before it hears that the function has ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_add, consumer, time.thread_time_ns() - begun)


def _add(consumer: Attempt, cpu_ns: int) -> None:
    consumer.cpu_ns += cpu_ns


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
