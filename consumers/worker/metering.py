"""What an attempt used of the machine."""

import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

import psutil

T = TypeVar("T")


class CpuMeter:
    """CPU time of one attempt, in nanoseconds. Many coroutines share a thread: only their own steps are counted."""

    __slots__ = ("nanoseconds",)

    def __init__(self) -> None:
        self.nanoseconds = 0

    @property
    def milliseconds(self) -> float:
        return self.nanoseconds / 1e6

    @types.coroutine
    def coroutine(self, inner: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Drives a coroutine and counts each of its steps."""
        resume: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            begun = time.thread_time_ns()
            try:
                awaited = resume(value)
            except StopIteration as finished:
                result: T = finished.value
                return result
            finally:
                self.nanoseconds += time.thread_time_ns() - begun
            try:
                value = yield awaited
                resume = inner.send
            except GeneratorExit:
                inner.close()
                raise
            except BaseException as error:
                value, resume = error, inner.throw

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function in this thread and counts it."""
        begun = time.thread_time_ns()
        try:
            return function(*arguments)
        finally:
            self.nanoseconds += time.thread_time_ns() - begun


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
