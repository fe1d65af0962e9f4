"""What an attempt uses outside the steps of its own coroutine: threads, programs and pools of its handler."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from resource import struct_rusage
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_lock = threading.RLock()
"""For all attempts: they start and end such work rarely. Reentrant, because the garbage collector may poll a program
anywhere. Held at a fork, so that no child has it locked for ever."""
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

_programs: "dict[int, StartedWork]" = {}
"""Programs that have not been waited for, by process id."""


class Used(NamedTuple):
    """CPU time in nanoseconds. `peak_rss_bytes`: of the largest program that has ended; 0 if none has."""

    threads_cpu_ns: int
    programs_cpu_ns: int
    peak_rss_bytes: int


class StartedWork:
    """What one attempt started: what has ended, and what still runs. Thread-safe."""

    def __init__(self) -> None:
        self._threads_cpu_ns = self._programs_cpu_ns = self._peak_rss_bytes = 0
        self._calls: dict[object, tuple[int, int]] = {}
        self._running: set[int] = set()

    def call(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function in this thread and count its CPU time."""
        begun, call = time.thread_time_ns(), object()
        with _lock:
            self._calls[call] = threading.get_ident(), begun
        try:
            return function(*arguments, **named)
        finally:
            # The clock of a thread must not be read after its end, so no other thread reads it from here on.
            with _lock:
                del self._calls[call]
                used_ns = time.thread_time_ns() - begun
                self._threads_cpu_ns += used_ns

    def add_program(self, pid: int) -> None:
        """A program was started; `program_ended` follows."""
        with _lock:
            _programs[pid] = self
            self._running.add(pid)

    def add_cpu_of_programs(self, cpu_ns: int) -> None:
        """A process that other attempts use as well has worked so long for this one."""
        with _lock:
            self._programs_cpu_ns += cpu_ns

    def close(self) -> Used:
        """What it used until now, at the attempt's end: what still runs is counted until here and not any more."""
        with _lock:
            running = self._running.copy()
        until_now = {pid: _tree_cpu_ns(pid) for pid in running}
        with _lock:
            # One that has ended meanwhile is counted already.
            left = self._running & running
            for pid in left:
                self._running.discard(pid)
                _programs.pop(pid, None)
            threads = self._threads_cpu_ns + sum(thread_cpu_ns(*call) for call in self._calls.values())
            programs = self._programs_cpu_ns + sum(until_now[pid] for pid in left)
            return Used(threads, programs, self._peak_rss_bytes)

    def _program_ended(self, pid: int, used: struct_rusage) -> None:
        self._running.discard(pid)
        used_ns = cpu_ns((used,))
        self._programs_cpu_ns += used_ns
        self._peak_rss_bytes = max(self._peak_rss_bytes, max_rss_bytes(used))


_of_all = StartedWork()


def program_ended(pid: int, used: struct_rusage) -> None:
    """A child process was waited for."""
    with _lock:
        _of_all._program_ended(pid, used)
        work = _programs.pop(pid, None)
        if work is not None:
            work._program_ended(pid, used)


def thread_cpu_ns(thread: int, begun: int) -> int:
    """CPU time of a thread that has not ended, since its own clock was at `begun`; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    return time.clock_gettime_ns(time.pthread_getcpuclockid(thread)) - begun


def waited_for_cpu_ns() -> int:
    """CPU time of all the programs that this process was told of by `program_ended`."""
    return _of_all._programs_cpu_ns


def cpu_ns(used: Iterable[struct_rusage]) -> int:
    """Their CPU time, in nanoseconds."""
    return sum(round((each.ru_utime + each.ru_stime) * 1e9) for each in used)


def max_rss_bytes(used: struct_rusage) -> int:
    """The peak of resident memory. The kernel of Linux counts the memory of the process that started a program as that
    of the program before its first instruction."""
    return used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024


def _tree_cpu_ns(pid: int) -> int:
    # Imported for the few attempts that leave a program behind: each process of a pool imports this file.
    import psutil

    from millstream.consumers.worker.execution.process_tree import ProcessTree

    with suppress(psutil.Error):
        return round(ProcessTree(pid).cpu_ms() * 1e6)
    return 0
