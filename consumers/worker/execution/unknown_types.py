"""Jobs of types that have no handler here. They wait, because a worker of another release may have it: in a deploy of a
new type they are left to the workers that know it. Pure but for its log."""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable

import structlog

from millstream.consumers.worker.execution.execution import Execution

log = structlog.get_logger(__name__)

MOST_WARNED = 100
"""Types that are named in the log; tenants may make up as many as they like."""

MOST_WAITING = 500
"""Executions that wait at once; when there are more the oldest are tried, so that a tenant that makes up types cannot
fill the worker with jobs that wait."""


class UnknownTypes:
    """The executions that wait. Used by the event loop's thread only; `len` may be called by any.

    `grace_s`: how long each waits, in seconds, before it is tried and so becomes a dead letter. `known`: the types that
    have a handler. Times are seconds, monotonic.
    """

    def __init__(self, grace_s: float, known: Iterable[str]) -> None:
        self._grace_s = grace_s
        self._known = sorted(known)
        self._waiting: deque[tuple[float, Execution]] = deque()
        self._warned: set[str] = set()

    def hold(self, execution: Execution, now: float) -> None:
        """Let an execution wait."""
        self._waiting.append((now + self._grace_s, execution))
        job_type = execution.job_type
        if job_type not in self._warned and len(self._warned) < MOST_WARNED:
            self._warned.add(job_type)
            log.warning(
                "job_type_unknown",
                job_type=job_type,
                known=self._known,
                action=f"its jobs wait {self._grace_s:g} s for a worker that has a handler",
            )

    @property
    def due_at(self) -> float:
        """When the next one has waited for long enough; infinity when none waits."""
        if len(self._waiting) > MOST_WAITING:
            return 0.0
        return self._waiting[0][0] if self._waiting else math.inf

    def due(self, now: float) -> list[Execution]:
        """Remove and return those that have waited for long enough."""
        due = []
        while self.due_at <= now:
            due.append(self._waiting.popleft()[1])
        return due

    def remove(self, chosen: Callable[[Execution], bool]) -> list[Execution]:
        """Remove and return those that are chosen."""
        removed = [execution for _, execution in self._waiting if chosen(execution)]
        if removed:
            self._waiting = deque(each for each in self._waiting if not chosen(each[1]))
        return removed

    def by_tenant(self) -> Counter[str]:
        """How many wait, by tenant. May be called by any thread; the numbers are a moment old."""
        return Counter(execution.tenant for _, execution in list(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)
