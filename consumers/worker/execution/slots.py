"""Execution slots of one kind: how many executions run at once, which run, and which wait."""

import asyncio

from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.registry import RunsOn
from millstream.consumers.worker.scheduling.fair_queue import FairQueue


class Slots:
    """The slots of the event loop, of the threads or of the child processes. The event loop's thread owns them.

    `limit`: how many there are; may be changed. `busiest`: the most that were in use since it was last reset.
    `dispatcher`: the task that starts what waits here, one execution after the other; only of the event loop's slots.
    """

    def __init__(self, kind: RunsOn, limit: int, queue: FairQueue[Execution]) -> None:
        self.kind = kind
        self.limit = limit
        self.queue = queue
        self.running: set[Execution] = set()
        self.busiest = 0
        self.dispatcher: asyncio.Task[None] | None = None

    @property
    def free(self) -> bool:
        """Whether a slot is free."""
        return len(self.running) < self.limit

    def occupy(self, execution: Execution) -> None:
        """Note that an execution has a slot."""
        self.running.add(execution)
        self.busiest = max(self.busiest, len(self.running))

    def take_busiest(self) -> int:
        """The most slots in use since the last call."""
        busiest, self.busiest = self.busiest, len(self.running)
        return busiest
