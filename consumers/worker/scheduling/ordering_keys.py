"""Which ordering keys are held, and which jobs wait behind an earlier one of their key.

Jobs of one tenant's ordering key run one after the other, in the order in which they were taken. Pure, not thread-safe.
"""

from collections import Counter, deque
from typing import Generic, Protocol, TypeVar


class KeyedJob(Protocol):
    """What is asked of a job. `live` turns False when the job is not to be started any more."""

    @property
    def tenant(self) -> str: ...
    @property
    def ordering_key(self) -> str: ...
    @property
    def live(self) -> bool: ...


Job = TypeVar("Job", bound=KeyedJob)


class OrderingKeys(Generic[Job]):
    """The keys that are held and the jobs behind them. Shared by the queues of one worker."""

    def __init__(self) -> None:
        self._behind: dict[tuple[str, str], deque[Job]] = {}

    def claim(self, job: Job) -> bool:
        """True when the job now holds its key and may be queued; False when it waits behind an earlier one."""
        key = (job.tenant, job.ordering_key)
        behind = self._behind.get(key)
        if behind is None:
            self._behind[key] = deque()
            return True
        behind.append(job)
        return False

    def release(self, job: Job) -> Job | None:
        """The job has ended or was dropped. Returns the next live one of its key, which now holds the key."""
        key = (job.tenant, job.ordering_key)
        behind = self._behind[key]
        while behind:
            if (following := behind.popleft()).live:
                return following
        del self._behind[key]
        return None

    def forget_dead(self) -> None:
        """Drop jobs that wait and are not live any more."""
        for key, behind in self._behind.items():
            if not all(job.live for job in behind):
                self._behind[key] = deque(job for job in behind if job.live)

    def by_tenant(self) -> Counter[str]:
        """How many jobs wait, by tenant. May be called by any thread; the numbers are a moment old."""
        waiting: Counter[str] = Counter()
        for (tenant, _), behind in list(self._behind.items()):
            waiting[tenant] += len(behind)
        return +waiting

    def __len__(self) -> int:
        return sum(map(len, list(self._behind.values())))
