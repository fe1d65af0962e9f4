"""Which of the queued jobs starts next.

Lanes have strict priority without starvation: the most urgent lane with a job that may start goes first, and a lane
that was passed over `STARVING_AFTER` times gets one start. Within a lane tenants take turns by deficit round robin
(Shreedhar and Varghese, 1995; every job costs 1, a turn earns the tenant's weight), and within a tenant its job types
take turns. Jobs that a quota holds back are parked and cost nothing until they may start.

Pure: no clock, no thread, no Kafka. Not thread-safe.
"""

import heapq
import itertools
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from millstream.consumers.worker.scheduling.quotas import Quotas

STARVING_AFTER = 20
WAKE_TOLERANCE_S = 0.001
"""Two wake times that differ by less are the same: sums of floats are not exact."""


class QueuedJob(Protocol):
    """What the queue needs of a job. `live` turns False when the job must not start any more."""

    @property
    def tenant(self) -> str: ...
    @property
    def job_type(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def ordering_key(self) -> str: ...
    @property
    def live(self) -> bool: ...


Job = TypeVar("Job", bound=QueuedJob)


class FairQueue(Generic[Job]):
    """Jobs that wait for a slot, fair to tenants."""

    def __init__(self, lanes: Sequence[str], quotas: Quotas) -> None:
        self._quotas = quotas
        self._lanes = [_Lane[Job](name, quotas) for name in lanes]
        self._by_name = {lane.name: lane for lane in self._lanes}
        self._size = 0

    def put(self, job: Job) -> None:
        """Queue a job. Raises KeyError for a lane that this queue does not have."""
        self._by_name[job.lane].put(job)
        self._size += 1

    def pop(self, now: float) -> Job | None:
        """The job that starts now, or None while none may. The caller enters it into the quotas, unless it is not live
        any more."""
        lanes = [lane for lane in self._lanes if lane.turns or lane.wake_heap]
        if len(lanes) > 1:
            for lane in lanes:
                if lane.passed_over >= STARVING_AFTER and (job := lane.pop(now)):
                    self._size -= 1
                    return job
        for index, lane in enumerate(lanes):
            job = lane.pop(now)
            if job is not None:
                for lower in lanes[index + 1 :]:
                    if lower.turns:
                        lower.passed_over += 1
                self._size -= 1
                return job
        return None

    def wake(self, tenant: str, job_type: str) -> None:
        """A job of this tenant and type has ended: jobs that their quotas held back may have a turn."""
        for lane in self._lanes:
            lane.wake(tenant, job_type)

    def wake_all(self) -> None:
        """A quota was changed, or something was resumed."""
        for lane in self._lanes:
            lane.wake_all()

    def forget_dead(self) -> list[Job]:
        """Remove the jobs that are not live any more, and return them. Without this each stays until its turn comes."""
        dead = [job for lane in self._lanes for job in lane.forget_dead()]
        self._size -= len(dead)
        return dead

    def by_tenant(self) -> Counter[str]:
        """How many jobs wait, by tenant. May be called by any thread; the numbers are a moment old."""
        waiting: Counter[str] = Counter()
        for lane in self._lanes:
            for tenant in list(lane.tenants.values()):
                waiting[tenant.name] += sum(map(len, list(tenant.queues.values())))
        return waiting

    def ready_at(self) -> float:
        """When a rate limit lets the next job start; infinity when none waits for one."""
        return min((lane.ready_at() for lane in self._lanes), default=math.inf)

    def __len__(self) -> int:
        return self._size


class _Tenant(Generic[Job]):
    """One tenant's jobs in one lane: a queue for each job type, and whose turn it is.

    `wakes_at`: its earliest wake time in the lane's heap; infinity without one.
    """

    __slots__ = ("deficit", "name", "parked", "queues", "turns", "wakes_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.deficit = 0.0
        self.queues: dict[str, deque[Job]] = {}
        self.turns: deque[str] = deque()
        self.parked = False
        self.wakes_at = math.inf


class _Lane(Generic[Job]):
    def __init__(self, name: str, quotas: Quotas) -> None:
        self.name = name
        self.passed_over = 0
        self._quotas = quotas
        self.tenants: dict[str, _Tenant[Job]] = {}
        self.turns: deque[_Tenant[Job]] = deque()
        self.wake_heap: list[tuple[float, int, _Tenant[Job]]] = []
        self._numbers = itertools.count()
        self._held_until = math.inf
        # Names of tenants in the order in which they were parked; the values are unused.
        self._waiting_for_type: dict[str, OrderedDict[str, None]] = {}

    def put(self, job: Job) -> None:
        tenant = self.tenants.get(job.tenant)
        if tenant is None:
            tenant = self.tenants[job.tenant] = _Tenant(job.tenant)
            self.turns.append(tenant)
        queue = tenant.queues.get(job.job_type)
        if queue is None:
            queue = tenant.queues[job.job_type] = deque()
            tenant.turns.append(job.job_type)
            if tenant.parked:
                # Jobs of the new type may start even if those of its other types may not.
                self._unpark(tenant)
        queue.append(job)

    def pop(self, now: float) -> Job | None:
        if self.wake_heap and self.wake_heap[0][0] <= now:
            self._wake_due(now)
        turns = self.turns
        if not turns:
            return None
        if (wait := self._quotas.wait("lane", self.name, now)) > 0:
            self._held_until = now + wait
            return None
        while turns:
            tenant = turns[0]
            if tenant.deficit < 1:
                tenant.deficit += self._quotas.weight(tenant.name)
                if tenant.deficit < 1:
                    turns.rotate(-1)
                    continue
            job, waits = self._take(tenant, now)
            if job is None:
                turns.popleft()
                tenant.deficit = 0.0
                if tenant.queues:
                    self._park(tenant, waits, now)
                else:
                    del self.tenants[tenant.name]
                continue
            tenant.deficit -= 1
            if tenant.deficit < 1:
                turns.rotate(-1)
            self.passed_over = 0
            return job
        return None

    def wake(self, tenant: str, job_type: str) -> None:
        own = self.tenants.get(tenant)
        if own is not None and own.parked:
            self._unpark(own)
        self._wake_one(job_type)

    def wake_all(self) -> None:
        for tenant in self.tenants.values():
            if tenant.parked:
                self._unpark(tenant)
        self._waiting_for_type.clear()

    def forget_dead(self) -> list[Job]:
        dead: list[Job] = []
        for tenant in list(self.tenants.values()):
            for job_type, queue in list(tenant.queues.items()):
                gone = [job for job in queue if not job.live]
                if not gone:
                    continue
                dead += gone
                if len(gone) < len(queue):
                    tenant.queues[job_type] = deque(job for job in queue if job.live)
                else:
                    del tenant.queues[job_type]
                    tenant.turns.remove(job_type)
            if not tenant.queues:
                tenant.parked = False
                del self.tenants[tenant.name]
        self.turns = deque(tenant for tenant in self.turns if tenant.queues)
        return dead

    def ready_at(self) -> float:
        """Called after `pop` returned None: tenants that still have a turn are held back by the lane's own quota."""
        while self.wake_heap and not self.wake_heap[0][2].parked:
            self._pop_wake()
        soonest = self.wake_heap[0][0] if self.wake_heap else math.inf
        return min(soonest, self._held_until) if self.turns else soonest

    def _take(self, tenant: _Tenant[Job], now: float) -> tuple[Job | None, dict[str, float]]:
        """The tenant's next job, or how long it must wait: for its own quota (key ""), or for the quota of each
        type."""
        waits: dict[str, float] = {}
        if (wait := self._quotas.wait("tenant", tenant.name, now)) > 0:
            return None, {"": wait}
        for _ in range(len(tenant.turns)):
            job_type = tenant.turns[0]
            wait = self._quotas.wait("job_type", job_type, now)
            if wait > 0:
                waits[job_type] = wait
                tenant.turns.rotate(-1)
                continue
            queue = tenant.queues[job_type]
            job = queue.popleft()
            if queue:
                tenant.turns.rotate(-1)
            else:
                del tenant.queues[job_type]
                tenant.turns.popleft()
            return job, waits
        return None, waits

    def _park(self, tenant: _Tenant[Job], waits: dict[str, float], now: float) -> None:
        tenant.parked = True
        moment = now + min(waits.values(), default=math.inf)
        # A tenant may be parked many times before its wake time: one entry in the heap is enough.
        if moment < tenant.wakes_at - WAKE_TOLERANCE_S:
            tenant.wakes_at = moment
            heapq.heappush(self.wake_heap, (moment, next(self._numbers), tenant))
        for job_type in waits:
            if job_type:
                self._waiting_for_type.setdefault(job_type, OrderedDict()).setdefault(tenant.name)
        if "" in waits:
            # It may have been woken for a type's free slot that it cannot use: wake the next tenant instead.
            for job_type in tenant.queues:
                self._wake_one(job_type)

    def _unpark(self, tenant: _Tenant[Job]) -> None:
        tenant.parked = False
        self.turns.append(tenant)

    def _wake_one(self, job_type: str) -> None:
        waiting = self._waiting_for_type.get(job_type)
        while waiting:
            tenant = self.tenants.get(waiting.popitem(last=False)[0])
            if tenant is not None and tenant.parked and job_type in tenant.queues:
                self._unpark(tenant)
                return
        self._waiting_for_type.pop(job_type, None)

    def _wake_due(self, now: float) -> None:
        while self.wake_heap and self.wake_heap[0][0] <= now:
            tenant = self._pop_wake()
            if tenant.parked:
                self._unpark(tenant)

    def _pop_wake(self) -> _Tenant[Job]:
        moment, _, tenant = heapq.heappop(self.wake_heap)
        if moment == tenant.wakes_at:
            tenant.wakes_at = math.inf
        return tenant
