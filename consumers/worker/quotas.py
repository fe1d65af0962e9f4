"""How many jobs of a tenant, a job type or a lane may run at once, and how many may begin each second.

Pure: the caller says what time it is, in seconds of any monotonic clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["tenant", "job_type", "lane"]

IDLE_KEPT = 10_000


class Quota(BaseModel):
    """What one tenant, job type or lane may use of each worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_concurrency: int | None = Field(None, ge=0, description="Jobs that may run at once; no limit when absent.")
    max_per_second: float | None = Field(None, gt=0, description="Jobs that may begin each second.")
    weight: float = Field(1.0, ge=0.01, le=100, description="A tenant's share of the worker against the others'.")


UNLIMITED = Quota()


@dataclass(slots=True)
class _Use:
    """A quota and what is used of it. The bucket holds at most one second's worth of starts, and at least one."""

    quota: Quota = UNLIMITED
    paused: bool = False
    running: int = 0
    tokens: float = 0.0
    refilled_at: float = -math.inf

    @property
    def bound(self) -> bool:
        return self.paused or self.quota.max_concurrency is not None or self.quota.max_per_second is not None

    def wait(self, now: float) -> float:
        quota = self.quota
        if self.paused or (quota.max_concurrency is not None and self.running >= quota.max_concurrency):
            return math.inf
        if quota.max_per_second is None:
            return 0.0
        self._refill(quota.max_per_second, now)
        # A hair less than a whole token is one: sums of floats never quite meet.
        return 0.0 if self.tokens >= 1 - 1e-9 else (1 - self.tokens) / quota.max_per_second

    def enter(self) -> None:
        self.running += 1
        if self.quota.max_per_second is not None:
            self.tokens -= 1

    def _refill(self, rate: float, now: float) -> None:
        full = max(1.0, rate)
        earned = (now - self.refilled_at) * rate
        self.tokens = min(full, self.tokens + earned) if earned < full else full
        self.refilled_at = now


class Quotas:
    """The quotas of one worker and their use. Not thread-safe: the executor's loop owns it."""

    def __init__(self, quotas: Mapping[tuple[Scope, str], Quota] | None = None) -> None:
        self._uses: dict[tuple[Scope, str], _Use] = {place: _Use(quota) for place, quota in (quotas or {}).items()}

    def set(self, scope: Scope, name: str, quota: Quota) -> None:
        """Change a quota; what runs already goes on."""
        self._use(scope, name).quota = quota

    def pause(self, scope: Scope, name: str, paused: bool = True) -> None:
        """Let nothing of it begin until it is resumed."""
        self._use(scope, name).paused = paused

    def quota(self, scope: Scope, name: str) -> Quota:
        use = self._uses.get((scope, name))
        return use.quota if use else UNLIMITED

    def weight(self, tenant: str) -> float:
        return self.quota("tenant", tenant).weight

    def wait(self, scope: Scope, name: str, now: float) -> float:
        """Seconds until another job of it may begin: 0 for now, infinity until one ends or it is resumed."""
        use = self._uses.get((scope, name))
        return use.wait(now) if use else 0.0

    def enter(self, tenant: str, job_type: str, lane: str) -> None:
        """Note that a job begins."""
        for place in (("tenant", tenant), ("job_type", job_type), ("lane", lane)):
            use = self._uses.get(place)
            if use is None:
                use = self._uses[place] = _Use()
            use.enter()

    def leave(self, tenant: str, job_type: str, lane: str) -> None:
        """Note that a job has ended."""
        for place in (("tenant", tenant), ("job_type", job_type), ("lane", lane)):
            self._uses[place].running -= 1
        if len(self._uses) > IDLE_KEPT:
            self._forget_idle()

    def _use(self, scope: Scope, name: str) -> _Use:
        return self._uses.setdefault((scope, name), _Use())

    def _forget_idle(self) -> None:
        self._uses = {
            place: use for place, use in self._uses.items() if use.running or use.bound or use.quota != UNLIMITED
        }


def changed(quota: Quota, **fields: float | int | None) -> Quota:
    """A quota with those fields changed that are not None. Raises pydantic's ValidationError."""
    given = {name: value for name, value in fields.items() if value is not None}
    return Quota.model_validate(quota.model_dump() | given)
