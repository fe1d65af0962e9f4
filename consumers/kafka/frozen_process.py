"""Ends a process that is frozen while it leaves its groups.

A rebalance that begins at the very moment of closing may freeze it: see `membership.py`. Then no Python code of it
runs any more, not even that of a signal handler. By that time everything is committed or will be redelivered, so the
process ends, and whoever supervises it starts it again.
"""

import faulthandler
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

FROZEN_AFTER_S = 20.0
REARM_INTERVAL_S = 1.0
STDERR = 2


def run_or_exit(calls: Sequence[Callable[[], None]], frozen_after_s: float = FROZEN_AFTER_S) -> None:
    """Call all at once, wait for them, and raise the error of the first that failed. When no Python code has run for
    `frozen_after_s` seconds meanwhile, print where each thread is and end the process with code 1."""
    with ThreadPoolExecutor(len(calls)) as threads:
        try:
            # A call may hold the interpreter's lock from its first moment on.
            faulthandler.dump_traceback_later(frozen_after_s, exit=True, file=STDERR)
            called = [threads.submit(each) for each in calls]
            pending: set[Future[None]] = set(called)
            while pending := wait(pending, REARM_INTERVAL_S).not_done:
                faulthandler.dump_traceback_later(frozen_after_s, exit=True, file=STDERR)
        finally:
            faulthandler.cancel_dump_traceback_later()
    for each in called:
        each.result()
