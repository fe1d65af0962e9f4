"""Execution slots of one kind: how many executions run at once, which run, and which wait."""

import asyncio
from collections.abc import Callable

import structlog

from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.registry import RunsOn
from millstream.consumers.worker.scheduling.fair_queue import FairQueue

log = structlog.get_logger(__name__)


class Slots:
    """The slots of the event loop, of the threads or of the child processes. The event loop's thread owns them.

    `limit`: how many there are; may be changed. `busiest`: the most that were in use since it was last reset.
    `dispatcher`: the task that starts what waits here, one execution after the other; only of the event loop's slots.
    `paused`: the host cannot run anything here for a moment.
    """

    def __init__(self, kind: RunsOn, limit: int, queue: FairQueue[Execution]) -> None:
        self.kind = kind
        self.limit = limit
        self.queue = queue
        self.running: set[Execution] = set()
        self.busiest = 0
        self.paused = False
        self.dispatcher: asyncio.Task[None] | None = None

    @property
    def free(self) -> bool:
        """Whether a slot is free."""
        return not self.paused and len(self.running) < self.limit

    def occupy(self, execution: Execution) -> None:
        """Note that an execution has a slot."""
        self.running.add(execution)
        self.busiest = max(self.busiest, len(self.running))

    def pause(
        self, loop: asyncio.AbstractEventLoop, seconds: float, reason: str, resume: Callable[["Slots"], None]
    ) -> None:
        """Start nothing for so long, then call `resume`."""

        def end() -> None:
            self.paused = False
            resume(self)

        if not self.paused:
            self.paused = True
            log.warning("handlers_not_started", runs_on=self.kind, reason=reason, again_in_s=seconds)
            loop.call_later(seconds, end)

    def take_busiest(self) -> int:
        """The most slots in use since the last call."""
        busiest, self.busiest = self.busiest, len(self.running)
        return busiest
