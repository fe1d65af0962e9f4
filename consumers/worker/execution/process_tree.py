"""A child process and all that it started: what they use together, and ending them."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import psutil

REFRESH_S = 0.25
"""How often descendants are looked for: where the kernel does not list them, all processes of the host are read."""

_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


class TreeUsage(NamedTuple):
    """Resident memory in bytes, and CPU time in ms since each process began, processes that have ended included."""

    rss_bytes: int
    cpu_ms: float


class ProcessTree:
    """A process that leads a process group, and its descendants. Used by one thread, except for `kill`."""

    def __init__(self, root: int) -> None:
        """Raises `psutil.Error` when the process has ended."""
        self._root = psutil.Process(root)
        self._descendants: list[psutil.Process] = []
        self._refreshed_at = float("-inf")

    def usage(self) -> TreeUsage:
        """What the processes use. Raises `psutil.Error` when the first one has ended."""
        if time.monotonic() - self._refreshed_at >= REFRESH_S:
            self._refresh()
        rss_bytes, cpu_ms = _usage(self._root, shared=bool(self._descendants))
        for each in self._descendants:
            with contextlib.suppress(psutil.Error):
                more = _usage(each, shared=True)
                rss_bytes, cpu_ms = rss_bytes + more.rss_bytes, cpu_ms + more.cpu_ms
        return TreeUsage(rss_bytes, cpu_ms)

    def cpu_ms(self) -> float:
        """CPU time of the processes as in `usage`. Raises `psutil.Error` when the first one has ended."""
        self._refresh()
        cpu_ms = _cpu_ms(self._root)
        for each in self._descendants:
            with contextlib.suppress(psutil.Error):
                cpu_ms += _cpu_ms(each)
        return cpu_ms

    def kill(self) -> None:
        """Kill them all: the process group, and descendants that have left it."""
        with contextlib.suppress(psutil.Error):
            self._refresh()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._root.pid, signal.SIGKILL)
        for each in self._descendants:
            with contextlib.suppress(psutil.Error):
                each.kill()

    def _refresh(self) -> None:
        known = {each.pid: each for each in self._descendants if each.is_running()}
        found = _children(self._root) if _LISTS_CHILDREN else self._root.children(recursive=True)
        # One whose parent has ended is not found again, but is still one of them.
        self._descendants = list(({each.pid: each for each in found} | known).values())
        self._refreshed_at = time.monotonic()


def _usage(process: psutil.Process, shared: bool) -> TreeUsage:
    cpu_ms = _cpu_ms(process)
    if not shared:
        return TreeUsage(process.memory_info().rss, cpu_ms)
    # Forked processes share pages: each one's part of them is counted, where the system knows it.
    memory = process.memory_full_info()
    return TreeUsage(getattr(memory, "pss", memory.rss), cpu_ms)


def _cpu_ms(process: psutil.Process) -> float:
    times = process.cpu_times()
    return (times.user + times.system + times.children_user + times.children_system) * 1000


def _children(parent: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for task in Path(f"/proc/{parent.pid}/task").glob("*"):
        with contextlib.suppress(OSError, psutil.Error):
            for pid in map(int, (task / "children").read_text().split()):
                child = psutil.Process(pid)
                found += [child, *_children(child)]
    return found
