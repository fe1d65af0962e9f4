"""Signals a child process when its parent dies, however the parent dies. Linux only; elsewhere a child outlives it."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def signal_on_parent_death(number: signal.Signals, parent_pid: int | None = None) -> None:
    """Have the kernel send `number` to this process when its parent dies. Called in the child.

    With `parent_pid` the process also ends at once if it has another parent already: its own died before the call. The
    pid 1 is no sign of that, because a worker is process 1 in a container without an init process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if parent_pid is not None and os.getppid() != parent_pid:
            os._exit(1)
