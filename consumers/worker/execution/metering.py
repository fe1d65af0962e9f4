"""What an attempt used of the machine."""

import contextvars
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar

import psutil

T = TypeVar("T")


class Spender(Protocol):
    """Whoever pays for a run: its CPU time so far, in nanoseconds."""

    cpu_ns: int


@types.coroutine
def metered(spender: Spender, run: Coroutine[Any, Any, T], when_it_waits: Callable[[], None]) -> Generator[Any, Any, T]:
    """Drive a coroutine in a context of its own. Many coroutines share a thread: only this one's steps are counted.

    `when_it_waits` is called once, before the first thing that it waits for. One that waits for nothing is over without
    the event loop having had a turn.
    """
    step = contextvars.copy_context().run
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
            spender.cpu_ns += time.thread_time_ns() - begun
        if not waited:
            waited = True
            when_it_waits()
        try:
            value = yield awaited
            resume = run.send
        except GeneratorExit:
            run.close()
            raise
        except BaseException as error:
            value, resume = error, run.throw


def metered_call(spender: Spender, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in this thread and count it."""
    begun = time.thread_time_ns()
    try:
        return function(*arguments)
    finally:
        spender.cpu_ns += time.thread_time_ns() - begun


class MemoryGauge:
    """Resident memory of this process, asked of the kernel at most once in `interval_s` seconds.

    Attempts on the loop and in threads share the process, so this is an upper bound for each of them.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self._process = psutil.Process()
        self._interval_s = interval_s
        self._asked_at = float("-inf")
        self._bytes = 0

    @property
    def rss_bytes(self) -> int:
        now = time.monotonic()
        if now - self._asked_at >= self._interval_s:
            self._bytes = self._process.memory_info().rss
            self._asked_at = now
        return self._bytes
