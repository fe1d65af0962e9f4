"""Keeps services and the stack below them running: waits until all are ready, and starts again what ends."""

import time
from collections.abc import Callable, Sequence

from millstream.consumers.kafka.restart_backoff import RestartBackoff
from millstream.local.process import DidNotStart
from millstream.local.services import RunningService, ServiceLog

ENDED_AT_ONCE_S = 30.0
"""A run that is shorter than this makes the next start wait longer, in seconds."""

LONGEST_WAIT_S = 30.0
WRONG_INPUT = 2
"""Exit code of a service that cannot run with its settings or arguments, so that starting it again cannot help."""


class ServiceWatch:
    """Watches started services. Not thread-safe."""

    def __init__(
        self, running: Sequence[RunningService], log: ServiceLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._running = running
        self._log = log
        self._clock = clock
        self._started_at = {each.service.name: clock() for each in running}
        self._start_at: dict[str, float] = {}
        self._backoff = {
            each.service.name: RestartBackoff(0.0, 1.0, LONGEST_WAIT_S, ENDED_AT_ONCE_S) for each in running
        }

    def not_ready(self) -> list[str]:
        """The names of the services that do not respond yet. Raises `DidNotStart` for one that ended because of its
        settings or arguments."""
        for each in self._running:
            if not each.process.is_alive() and each.process.returncode == WRONG_INPUT:
                raise DidNotStart(f"{each.service.name} cannot run:\n{each.process.tail}")
        return [each.service.name for each in self._running if not each.responds]

    def restart_ended(self) -> None:
        """Start what has ended: at once the first time, later each time it ends soon."""
        now = self._clock()
        for each in self._running:
            name = each.service.name
            if each.process.is_alive():
                continue
            if name not in self._start_at:
                wait_s = self._backoff[name].after(now - self._started_at[name])
                self._start_at[name] = now + wait_s
                self._log.write(
                    name,
                    {
                        "event": "service_ended",
                        "exit_code": each.process.returncode,
                        "starts_again_in_s": wait_s,
                        "level": "error",
                    },
                )
            if now >= self._start_at[name]:
                del self._start_at[name]
                self._started_at[name] = now
                each.start()


class StackWatch:
    """Starts the broker and ClickHouse again when they end: at once the first time, later each time they end soon.

    `restart`: `LocalStack.restart_ended`. Not thread-safe.
    """

    def __init__(
        self, restart: Callable[[], list[str]], log: ServiceLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._restart = restart
        self._log = log
        self._clock = clock
        self._backoff = RestartBackoff(1.0, 1.0, LONGEST_WAIT_S, ENDED_AT_ONCE_S)
        self._restarted_at = float("-inf")
        self._not_before = float("-inf")

    def restart_ended(self) -> None:
        """Start what has ended, and log it. Raises `DidNotStart` when the data of the broker are gone."""
        now = self._clock()
        if now < self._not_before:
            return
        restarted = self._restart()
        for sentence in restarted:
            self._log.write("up", {"event": sentence, "level": "error"})
        if restarted:
            self._not_before = now + self._backoff.after(now - self._restarted_at)
            self._restarted_at = now
