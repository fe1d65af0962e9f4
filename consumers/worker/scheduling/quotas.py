"""How many jobs of a tenant, a job type or a lane may run at once, and how many may begin each second.

Pure: the caller says what time it is, in seconds of any monotonic clock.
"""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["tenant", "job_type", "lane"]

IDLE_KEPT = 10_000
OVERFLOW = ".overflow"
"""What the name of a lane's overflow ends with."""


class Quota(BaseModel):
    """What one tenant, job type or lane may use of each worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_concurrency: int | None = Field(None, ge=0, description="Jobs that may run at once; no limit when absent.")
    max_per_second: float | None = Field(None, gt=0, description="Jobs that may begin each second.")
    weight: float = Field(1.0, ge=0.01, le=100, description="A tenant's share of the worker against the others'.")


UNLIMITED = Quota()


class _Use:
    """A quota and what is used of it. The bucket holds at most one second's worth of starts, and at least one.

    `bound`: there is something that may make a job wait.
    """

    __slots__ = ("_quota", "_refilled_at", "_tokens", "bound", "paused", "running")

    def __init__(self, quota: Quota = UNLIMITED) -> None:
        self.paused = False
        self.running = 0
        self._tokens = 0.0
        self._refilled_at = -math.inf
        self.limit(quota)

    @property
    def quota(self) -> Quota:
        return self._quota

    def limit(self, quota: Quota) -> None:
        self._quota = quota
        self._see_if_bound()

    def pause(self, paused: bool) -> None:
        self.paused = paused
        self._see_if_bound()

    def wait(self, now: float) -> float:
        quota = self._quota
        if self.paused or (quota.max_concurrency is not None and self.running >= quota.max_concurrency):
            return math.inf
        if quota.max_per_second is None:
            return 0.0
        self._refill(quota.max_per_second, now)
        # A hair less than a whole token is one: sums of floats never quite meet.
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / quota.max_per_second

    def spend(self) -> None:
        """A job begins: one token less."""
        if self._quota.max_per_second is not None:
            self._tokens -= 1

    def _refill(self, rate: float, now: float) -> None:
        full = max(1.0, rate)
        earned = (now - self._refilled_at) * rate
        self._tokens = min(full, self._tokens + earned) if earned < full else full
        self._refilled_at = now

    def _see_if_bound(self) -> None:
        quota = self._quota
        self.bound = self.paused or quota.max_concurrency is not None or quota.max_per_second is not None


class Quotas:
    """The quotas of one worker and their use. A lane and its overflow are one: moving a job aside lifts no limit.

    Not thread-safe: the executor's loop owns it.
    """

    def __init__(self, quotas: Mapping[tuple[Scope, str], Quota] | None = None) -> None:
        self._configured = dict(quotas or {})
        self._tenants: dict[str, _Use] = {}
        self._job_types: dict[str, _Use] = {}
        self._lanes: dict[str, _Use] = {}
        self._scopes: dict[Scope, dict[str, _Use]] = {
            "tenant": self._tenants,
            "job_type": self._job_types,
            "lane": self._lanes,
        }
        for (scope, name), quota in self._configured.items():
            self.set(scope, name, quota)

    def set(self, scope: Scope, name: str, quota: Quota) -> None:
        """Change a quota; what runs already goes on."""
        self._use(scope, name).limit(quota)

    def order(self, scope: Scope, name: str, **limits: float) -> None:
        """Set these limits; all else is as it was configured, whatever an earlier order said. Raises pydantic's
        ValidationError."""
        configured = self._configured.get((scope, name), UNLIMITED)
        self.set(scope, name, Quota.model_validate(configured.model_dump() | limits))

    def pause(self, scope: Scope, name: str, paused: bool = True) -> None:
        """Let nothing of it begin until it is resumed."""
        self._use(scope, name).pause(paused)

    def quota(self, scope: Scope, name: str) -> Quota:
        use = self._scopes[scope].get(name)
        return use.quota if use else UNLIMITED

    def weight(self, tenant: str) -> float:
        use = self._tenants.get(tenant)
        return use.quota.weight if use else UNLIMITED.weight

    def wait(self, scope: Scope, name: str, now: float) -> float:
        """Seconds until another job of it may begin: 0 for now, infinity until one ends or it is resumed."""
        use = self._scopes[scope].get(name)
        return use.wait(now) if use is not None and use.bound else 0.0

    def enter(self, tenant: str, job_type: str, lane: str) -> None:
        """Note that a job begins."""
        uses = (
            self._tenants.get(tenant) or self._use("tenant", tenant),
            self._job_types.get(job_type) or self._use("job_type", job_type),
            self._lanes.get(lane) or self._use("lane", lane),
        )
        for use in uses:
            use.running += 1
            if use.bound:
                use.spend()

    def leave(self, tenant: str, job_type: str, lane: str) -> None:
        """Note that a job has ended."""
        self._tenants[tenant].running -= 1
        self._job_types[job_type].running -= 1
        self._lanes[lane].running -= 1
        for uses in (self._tenants, self._job_types):
            if len(uses) > IDLE_KEPT:
                _forget_idle(uses)

    def _use(self, scope: Scope, name: str) -> _Use:
        uses = self._scopes[scope]
        if (use := uses.get(name)) is None:
            use = uses[name] = _Use()
            if scope == "lane":
                # Under both names, so that neither has to be made from the other at each start.
                lane = name.removesuffix(OVERFLOW)
                uses[lane] = uses[lane + OVERFLOW] = use
        return use


def _forget_idle(uses: dict[str, _Use]) -> None:
    for name in [name for name, use in uses.items() if not (use.running or use.bound or use.quota != UNLIMITED)]:
        del uses[name]
