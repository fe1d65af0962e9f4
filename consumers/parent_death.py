"""Signals a child process when its parent dies, however the parent dies. Linux only; elsewhere a child outlives it."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def signal_on_parent_death(number: signal.Signals) -> None:
    """Have the kernel send `number` to this process when its parent dies. Called in the child.

    With SIGKILL the process also ends at once if it has been adopted by PID 1 already: its parent died before the call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if number is signal.SIGKILL and os.getppid() == 1:
            os._exit(1)
