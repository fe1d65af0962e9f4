"""How many jobs of a tenant, a job type or a lane may run at once, and how many may start each second.

Pure: the caller passes the time, in seconds of any monotonic clock.
"""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from millstream.schemas.topics import OVERFLOW_SUFFIX

QuotaScope = Literal["tenant", "job_type", "lane"]
"""What a quota may be for; its values are those of `schemas.Scope`."""

MAX_IDLE = 10_000
"""How many names of tenants and of job types are remembered at least. Above it those without a quota and without jobs
are forgotten, whenever the names have become twice as many as were left before: a constant cost for each job."""


class Quota(BaseModel):
    """Limits of one tenant, job type or lane on each worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_concurrency: int | None = Field(None, ge=0, description="Jobs that may run at once; no limit when absent.")
    max_per_second: float | None = Field(
        None, gt=0, description="Jobs that may start each second; no limit when absent."
    )
    weight: float = Field(1.0, ge=0.01, le=100, description="A tenant's share of the worker relative to the others'.")


UNLIMITED = Quota()


class _Usage:
    """A quota and its current usage. The token bucket holds one second's worth of starts, at least one.

    `limited`: a job may have to wait.
    """

    __slots__ = ("_quota", "_refilled_at", "_tokens", "limited", "paused", "running")

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
        self._update_limited()

    def pause(self, paused: bool) -> None:
        self.paused = paused
        self._update_limited()

    def wait(self, now: float) -> float:
        quota = self._quota
        if self.paused or (quota.max_concurrency is not None and self.running >= quota.max_concurrency):
            return math.inf
        if quota.max_per_second is None:
            return 0.0
        self._refill(quota.max_per_second, now)
        # Treat 1 - 1e-9 tokens as 1: accumulated float error.
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / quota.max_per_second

    def spend(self) -> None:
        """A job starts: take one token."""
        if self._quota.max_per_second is not None:
            self._tokens -= 1

    def _refill(self, rate: float, now: float) -> None:
        full = max(1.0, rate)
        earned = (now - self._refilled_at) * rate
        self._tokens = min(full, self._tokens + earned) if earned < full else full
        self._refilled_at = now

    def _update_limited(self) -> None:
        quota = self._quota
        self.limited = self.paused or quota.max_concurrency is not None or quota.max_per_second is not None


class Quotas:
    """The quotas of one worker and their use. A lane and its overflow share one: moving a job lifts no limit.

    Not thread-safe: the executor's loop owns it.
    """

    def __init__(self, quotas: Mapping[tuple[QuotaScope, str], Quota] | None = None) -> None:
        self._configured = dict(quotas or {})
        self._tenants: dict[str, _Usage] = {}
        self._job_types: dict[str, _Usage] = {}
        self._lanes: dict[str, _Usage] = {}
        self._scopes: dict[QuotaScope, dict[str, _Usage]] = {
            "tenant": self._tenants,
            "job_type": self._job_types,
            "lane": self._lanes,
        }
        self._most_tenants = self._most_job_types = MAX_IDLE
        for (scope, name), quota in self._configured.items():
            self.set(scope, name, quota)

    def set(self, scope: QuotaScope, name: str, quota: Quota) -> None:
        """Change a quota. Running jobs are not affected."""
        self._usage(scope, name).limit(quota)

    def apply_limits(self, scope: QuotaScope, name: str, **limits: float) -> None:
        """Set these limits; the others get their configured values, whatever was set before. Raises pydantic's
        ValidationError."""
        configured = self._configured.get((scope, name), UNLIMITED)
        self.set(scope, name, Quota.model_validate(configured.model_dump() | limits))

    def pause(self, scope: QuotaScope, name: str, paused: bool = True) -> None:
        """Start none of its jobs until it is resumed."""
        self._usage(scope, name).pause(paused)

    def quota(self, scope: QuotaScope, name: str) -> Quota:
        usage = self._scopes[scope].get(name)
        return usage.quota if usage else UNLIMITED

    def weight(self, tenant: str) -> float:
        usage = self._tenants.get(tenant)
        return usage.quota.weight if usage else UNLIMITED.weight

    def wait(self, scope: QuotaScope, name: str, now: float) -> float:
        """Seconds until another of its jobs may start: 0 for now, infinity until one ends or it is resumed."""
        usage = self._scopes[scope].get(name)
        return usage.wait(now) if usage is not None and usage.limited else 0.0

    def enter(self, tenant: str, job_type: str, lane: str) -> None:
        """Note that a job starts."""
        usages = (
            self._tenants.get(tenant) or self._usage("tenant", tenant),
            self._job_types.get(job_type) or self._usage("job_type", job_type),
            self._lanes.get(lane) or self._usage("lane", lane),
        )
        for usage in usages:
            usage.running += 1
            if usage.limited:
                usage.spend()

    def leave(self, tenant: str, job_type: str, lane: str) -> None:
        """Note that a job has ended."""
        self._tenants[tenant].running -= 1
        self._job_types[job_type].running -= 1
        self._lanes[lane].running -= 1
        if len(self._tenants) > self._most_tenants:
            self._most_tenants = _drop_idle(self._tenants)
        if len(self._job_types) > self._most_job_types:
            self._most_job_types = _drop_idle(self._job_types)

    def _usage(self, scope: QuotaScope, name: str) -> _Usage:
        usages = self._scopes[scope]
        if (usage := usages.get(name)) is None:
            usage = usages[name] = _Usage()
            if scope == "lane":
                # Under both names, so that neither has to be derived from the other at each start.
                lane = name.removesuffix(OVERFLOW_SUFFIX)
                usages[lane] = usages[lane + OVERFLOW_SUFFIX] = usage
        return usage


def _drop_idle(usages: dict[str, _Usage]) -> int:
    """Forget what is not needed; returns how many there may be before the next time."""
    for name in [
        name for name, usage in usages.items() if not (usage.running or usage.limited or usage.quota != UNLIMITED)
    ]:
        del usages[name]
    return max(MAX_IDLE, 2 * len(usages))
