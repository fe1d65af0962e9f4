"""What one worker process is doing now.

The session writes it on the poll thread; heartbeats, health endpoints and metrics read it from their own threads. So
none of them needs to know the session, and the session knows none of them.
"""

import threading
import time
from collections import Counter
from typing import Protocol

from millstream.consumers.worker.execution.execution import Execution
from millstream.schemas import WorkerState


class ExecutorLoad(Protocol):
    """How much an executor is running. Every member may be read from any thread; the values are a moment old."""

    @property
    def running(self) -> int:
        """Executions in a slot."""

    @property
    def waiting(self) -> int:
        """Executions that wait for a slot."""

    @property
    def capacity(self) -> int:
        """Slots."""

    def running_now(self) -> list[Execution]:
        """The executions in a slot, in no order."""

    def queued_by_tenant(self) -> Counter[str]:
        """How many executions of each tenant wait for a slot."""


class WorkerStatus:
    """The state of one worker, and the requests to stop it. Thread-safe: every attribute is a single value.

    `ready`: every consumer group has sent this worker its part. `stopping`: it takes no more jobs. `stop_now`: the
    grace period is over. `loop_blocked`: a coroutine has blocked the event loop for so long that the process ends.
    `polled_at`: when the poll thread last went round, in seconds of the monotonic clock. `restarts`: how often the
    worker lost its transactional producer and started over. `load`: None before the first session.
    """

    def __init__(self) -> None:
        self.state = WorkerState.STARTING
        self.ready = threading.Event()
        self.stopping = threading.Event()
        self.stop_now = threading.Event()
        self.loop_blocked = threading.Event()
        self.polled_at = time.monotonic()
        self.restarts = 0
        self.load: ExecutorLoad | None = None

    def keep_waiting(self) -> bool:
        """Called from time to time while the poll thread waits for Kafka: it is alive, and may be asked to stop."""
        self.polled_at = time.monotonic()
        return not self.stopping.is_set()
