"""What one worker process is doing now.

The session writes it on the poll thread; heartbeats, health endpoints and metrics read it from their own threads. So
none of them needs to know the session, and the session knows none of them.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from millstream.consumers.kafka.broker_status import BrokerStatus
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


NOT_READY_AFTER_S = 10.0
"""How long something may wait to be written, while nothing is committed, before the worker is not ready."""

NOT_LIVE_AFTER_S = 300.0
"""How long that may last, for no cause that is known, before the worker is not live."""


class WritingStatus:
    """How the writing of outcomes goes. The poll thread writes it; any thread may read it.

    `parked`: outcomes that cannot be written now. `unwritable`: topics that cannot be written, with the cause.
    `kafka_away`: no broker answers.
    """

    def __init__(self) -> None:
        self.parked = 0
        self.unwritable: dict[str, str] = {}
        self.kafka_away = False
        self._waiting_since: float | None = None

    def committed(self) -> None:
        """A transaction was committed."""
        self._waiting_since = None
        self.kafka_away = False

    def waits(self, waiting: bool) -> None:
        """Whether anything waits to be written now."""
        if not waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.monotonic()

    @property
    def stands_for_s(self) -> float:
        """For how long something has waited while nothing was committed."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def problems(self) -> list[str]:
        """Why the worker is not ready; empty when its outcomes are written."""
        found = [f"{topic} cannot be written: {cause}" for topic, cause in self.unwritable.items()]
        if self.parked:
            found.append(f"{self.parked} outcomes cannot be written now and are kept")
        if (stands_s := self.stands_for_s) > NOT_READY_AFTER_S:
            cause = "; no broker answers" if self.kafka_away else ""
            found.append(f"nothing was committed for {stands_s:.0f} s while outcomes wait{cause}")
        return found

    @property
    def needs_restart(self) -> bool:
        """Whether nothing has been committed for long, although a broker answers and every topic can be written: what
        the worker can do about it, it has tried."""
        explained = self.kafka_away or self.unwritable
        return not explained and self.stands_for_s > NOT_LIVE_AFTER_S


class WorkerStatus:
    """The state of one worker, and the requests to stop it. Thread-safe: every attribute is a single value.

    `ready`: every consumer group has sent this worker its part. `stopping`: it takes no more jobs. `stop_now`: the
    grace period is over. `loop_blocked`: a coroutine has blocked the event loop for so long that the process ends.
    `polled_at`: when the poll thread last went round, in seconds of the monotonic clock. `restarts`: how often the
    worker lost its transactional producer and started over. `conflict`: which other process uses this worker's name.
    `held_back`: partitions that cannot be started yet, and why. `retains_as`: the transactional id under which outcomes
    of partitions that were given back are written; empty while none can be. `load`: None before the first session.
    `writing`: how the writing of outcomes goes. `denied`: rights that Kafka refuses now, a sentence each. `brokers`:
    whether any answers.
    """

    def __init__(self) -> None:
        self.state = WorkerState.STARTING
        self.ready = threading.Event()
        self.stopping = threading.Event()
        self.stop_now = threading.Event()
        self.loop_blocked = threading.Event()
        self.polled_at = time.monotonic()
        self.restarts = 0
        self._started_over_at = float("-inf")
        self.conflict = ""
        self.held_back: Mapping[str, str] = {}
        self.retains_as = ""
        self.load: ExecutorLoad | None = None
        self.writing = WritingStatus()
        self.denied: Sequence[str] = ()
        self.brokers = BrokerStatus()

    def end_for_conflict(self, other: str) -> None:
        """Another process uses this worker's name: stop at once."""
        self.conflict = other
        self.stop_now.set()
        self.stopping.set()

    def start_over(self) -> None:
        """The worker lost its transactional producer."""
        self.restarts += 1
        self._started_over_at = time.monotonic()

    def started_over_within(self, seconds: float) -> bool:
        """Whether that happened within so many seconds."""
        return time.monotonic() - self._started_over_at <= seconds

    def keep_waiting(self) -> bool:
        """Called from time to time while the poll thread waits for Kafka: it is alive, and may be asked to stop."""
        self.polled_at = time.monotonic()
        return not self.stopping.is_set()
