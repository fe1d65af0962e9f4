"""Several worker processes under one parent: a child that dies is back, under its own name, before its group notices.

Each child has a name of its own that stays the same, and with it its group membership (static, KIP-345) and its
transactional id. So the child that follows a dead one gets the same partitions without a rebalance, and ends at once
the transaction that the dead one left open.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from millstream.consumers.kafka.restart_backoff import RestartBackoff

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.02
STABLE_AFTER_S = 10.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0


@dataclass(slots=True)
class _Child:
    """One place and the process that holds it now."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    backoff: RestartBackoff = field(
        default_factory=lambda: RestartBackoff(0.0, FIRST_PAUSE_S, LONGEST_PAUSE_S, STABLE_AFTER_S)
    )
    """The first restart is immediate: somebody waits for the jobs that ran."""


class Supervisor:
    """Keeps `len(names)` children alive. `run` blocks until `stop` is called and every child has ended.

    `command`: the argument vector and the environment of the child with a name. A child that dies within ten seconds of
    its start, again and again, waits ever longer for the next one, at most ten seconds.
    """

    def __init__(self, names: Sequence[str], command: Callable[[str], tuple[Sequence[str], Mapping[str, str]]]) -> None:
        self._command = command
        self._children = [_Child(name) for name in names]
        self._stopping = threading.Event()
        self._signals = 0

    def stop(self) -> None:
        """Ask every child to drain; called again, to stop at once."""
        self._signals += 1
        self._stopping.set()

    def run(self) -> int:
        """Returns the highest exit code of the children that were asked to end."""
        told = 0
        codes = []
        while True:
            if told < self._signals:
                told = self._signals
                self._signal(signal.SIGTERM)
            alive = 0
            for child in self._children:
                if child.process is not None and (code := child.process.poll()) is not None:
                    self._ended(child, code)
                    if self._stopping.is_set():
                        codes.append(code if code >= 0 else 128 - code)
                if child.process is None and not self._stopping.is_set() and time.monotonic() >= child.start_at:
                    self._start(child)
                alive += child.process is not None
            if self._stopping.is_set() and not alive:
                return max(codes, default=0)
            time.sleep(LOOK_EVERY_S)

    def _start(self, child: _Child) -> None:
        argv, environment = self._command(child.name)
        child.process = subprocess.Popen(argv, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True)
        child.started_at = time.monotonic()
        log.info("worker process started", name=child.name, pid=child.process.pid)

    def _ended(self, child: _Child, code: int) -> None:
        child.process = None
        if self._stopping.is_set():
            return
        lasted = time.monotonic() - child.started_at
        child.start_at = time.monotonic() + child.backoff.after(lasted)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log.error("worker process died, starting it again", name=child.name, how=how, after_s=round(lasted, 1))

    def _signal(self, number: int) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(number)


def end_with_parent() -> None:
    """Called in a child: drain when the supervisor dies, however it dies. Linux only; elsewhere a child outlives it."""
    if sys.platform == "linux":
        import ctypes

        # PR_SET_PDEATHSIG is 1.
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
