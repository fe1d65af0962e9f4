"""A pool of daemon threads that may be abandoned.

Unlike `concurrent.futures` it does not wait for its threads at the end of the process, and a thread whose function
never returns can be replaced, so that it costs its own thread and no other.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[], None]


class ThreadUnavailable(RuntimeError):
    """The host cannot start a thread now, for lack of memory or because of a limit."""


class ThreadPool:
    """Runs at most `size` functions at once, in daemon threads that are started when first needed. Thread-safe."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._started = 0
        self._pending: set[Work] = set()

    def submit(self, work: Work) -> None:
        """Run `work`, which must not raise, as soon as a thread is free. Raises `ThreadUnavailable` when it needs a
        thread that cannot be started; nothing has changed then."""
        with self._lock:
            if self._threads < self._size and len(self._pending) >= self._threads:
                self._start()
            self._pending.add(work)
        self._queue.put(work)

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Call `function` as soon as a thread is free; returns at once. Raises `ThreadUnavailable`."""
        result: Future[T] = Future()

        def work() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self.submit(work)
        return result

    def replace_stuck(self, work: Work) -> None:
        """Start another thread in place of the one that `work` occupies, which ends if `work` ever returns. Does
        nothing when it has returned already."""
        with self._lock:
            if work not in self._pending:
                return
            self._pending.remove(work)
            self._threads -= 1
            if len(self._pending) > self._threads:
                # If it cannot be started, the next `submit` starts it.
                with contextlib.suppress(ThreadUnavailable):
                    self._start()

    def stop(self) -> None:
        """End idle threads now, and the others when their function returns."""
        with self._lock:
            for _ in range(self._threads):
                self._queue.put(None)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{self._started + 1}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            raise ThreadUnavailable(f"a thread cannot be started: {error}") from error
        self._threads += 1
        self._started += 1

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            finally:
                with self._lock:
                    replaced = work not in self._pending
                    self._pending.discard(work)
            if replaced:
                return
