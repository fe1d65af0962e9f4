"""CPU time and memory of attempts."""

import contextvars
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar

import psutil

T = TypeVar("T")


class CpuConsumer(Protocol):
    """What CPU time is counted for, in nanoseconds."""

    cpu_ns: int


@types.coroutine
def metered(
    consumer: CpuConsumer, run: Coroutine[Any, Any, T], on_first_wait: Callable[[], None]
) -> Generator[Any, Any, T]:
    """Run a coroutine in a context of its own. Many coroutines share a thread: only this one's steps are counted.

    `on_first_wait` is called once, before the first thing that it awaits. A coroutine that never waits ends without the
    event loop having run anything else.
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


def metered_call(consumer: CpuConsumer, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in this thread and count its CPU time."""
    begun = time.thread_time_ns()
    try:
        return function(*arguments)
    finally:
        consumer.cpu_ns += time.thread_time_ns() - begun


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
