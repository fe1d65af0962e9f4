"""Runs several worker processes and restarts each that dies, under its own name, before its group notices.

Each child has a name that stays the same, and with it its group membership (static, KIP-345) and its transactional id.
So the child that follows a dead one gets the same partitions without a rebalance, and aborts at once the transaction
that the dead one left open.
"""

import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from millstream.consumers.kafka.restart_backoff import RestartBackoff

log = structlog.get_logger(__name__)

POLL_S = 0.02
STABLE_AFTER_S = 10.0
END_WITHIN_S = 15.0
"""How long a child may take to end beyond its grace period: it writes outcomes and leaves its groups."""

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0


@dataclass(slots=True)
class _Child:
    """One child by name, and its process while it runs."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    backoff: RestartBackoff = field(
        default_factory=lambda: RestartBackoff(0.0, FIRST_PAUSE_S, LONGEST_PAUSE_S, STABLE_AFTER_S)
    )
    """The first restart is immediate: the jobs that ran are waiting to be redelivered."""


class Supervisor:
    """Keeps one child process running for each name. `run` blocks until `stop` is called and every child has ended.

    `command` returns the argument vector and the environment of the child with a name. A child that keeps dying within
    ten seconds of its start is restarted ever later, after ten seconds at most. `drain_grace_s`: how long the jobs of a
    child may take to finish once it is stopped, in seconds. A child that goes on for `end_within_s` beyond that, or
    after a second stop, is killed. `fatal_code`: an exit code that a child would have the next time too, so all are
    stopped.
    """

    def __init__(
        self,
        names: Sequence[str],
        command: Callable[[str], tuple[Sequence[str], Mapping[str, str]]],
        drain_grace_s: float,
        end_within_s: float = END_WITHIN_S,
        fatal_code: int | None = None,
    ) -> None:
        self._command = command
        self._drain_grace_s = drain_grace_s
        self._end_within_s = end_within_s
        self._fatal_code = fatal_code
        self._children = [_Child(name) for name in names]
        self._stopping = threading.Event()
        self._signals = 0
        self._kill_at = math.inf

    def stop(self) -> None:
        """Make every child drain; a second call makes it stop at once. May be called from a signal handler."""
        self._signals += 1
        self._stopping.set()

    def run(self) -> int:
        """Returns the highest exit code of the children that were stopped."""
        sent = 0
        codes = []
        while True:
            if sent < self._signals:
                sent = self._signals
                self._kill_at = time.monotonic() + (self._drain_grace_s if sent == 1 else 0.0) + self._end_within_s
                self._signal(signal.SIGTERM)
            if time.monotonic() >= self._kill_at:
                self._kill_at = math.inf
                self._kill()
            running = 0
            for child in self._children:
                if child.process is not None and (code := child.process.poll()) is not None:
                    self._ended(child, code)
                    if self._stopping.is_set():
                        codes.append(_exit_code(code))
                if child.process is None and not self._stopping.is_set() and time.monotonic() >= child.start_at:
                    self._start(child)
                running += child.process is not None
            if self._stopping.is_set() and not running:
                return max(codes, default=0)
            time.sleep(POLL_S)

    def _start(self, child: _Child) -> None:
        argv, environment = self._command(child.name)
        child.process = subprocess.Popen(argv, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True)
        child.started_at = time.monotonic()
        log.info("worker_process_started", name=child.name, pid=child.process.pid)

    def _ended(self, child: _Child, code: int) -> None:
        child.process = None
        if code == self._fatal_code and not self._stopping.is_set():
            log.error("worker_process_refused", name=child.name, exit_code=code, action="stopping the others")
            self.stop()
        if self._stopping.is_set():
            return
        lasted = time.monotonic() - child.started_at
        child.start_at = time.monotonic() + child.backoff.after(lasted)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log.error("worker_process_died", name=child.name, how=how, after_s=round(lasted, 1), action="restarting it")

    def _signal(self, number: int) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(number)

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None:
                log.error("worker_process_killed", name=child.name, reason="it did not end within its grace period")
        self._signal(signal.SIGKILL)


def _exit_code(code: int) -> int:
    """What the end of a stopped child counts as: a signal as in a shell, except for the one that stops it. That ends a
    child that still starts, which has begun nothing."""
    if code == -signal.SIGTERM:
        return 0
    return code if code >= 0 else 128 - code
