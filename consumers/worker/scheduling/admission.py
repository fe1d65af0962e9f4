"""Admission control: how many jobs a worker has taken and not finished, and which tenant exceeds its share of them.

A tenant that holds its share and drains it slowly is moved: its further records go to the lane's overflow topic, so
that the records behind them in the partition are reached. A tenant that drains its share fast is not moved, nor one
whose jobs are so short that the worker itself is the bottleneck: running them takes no longer than moving them. Nor is
a tenant that is alone: nobody waits behind it, and in its lane all workers share its jobs. Jobs with an ordering key
cannot be moved without losing their order, so for them the limit is raised instead, as far as the bytes allow. Pure:
the caller passes the time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from millstream.consumers.worker.scheduling.latest_jobs import LatestJobs

MEASURED_OVER_S = 0.1
MOVING_FACTOR = 2
KEYED_FACTOR = 10
BLOCKED_AFTER_S = 1.0
BLOCKED_FACTOR = 8
"""A share that takes this many times the allowed time to drain is moved although its jobs are short: a quota or an
ordering key holds them back."""

SMALLEST_PART = 100
"""A share is at least this part of the limit: however many tenants there are, one that holds a few jobs is no flood."""

RECORDS_A_KEY = 100
MOST_KEYS = 8
"""What is moved of one tenant gets one more key for each hundred records, so that a large flood is spread over
partitions, and so workers, of the overflow topic, and a small one delays nobody else there."""


@dataclass(slots=True)
class _Excess:
    """A tenant over its share: since when, what it has finished since then and how long that ran, and the verdict.

    `keeps`: some of its records have an ordering key, so they stay although they should be moved. `moved`: how many
    were moved.
    """

    since: float
    finished: int = 0
    ran_s: float = 0.0
    moving: bool = False
    keeps: bool = False
    moved: int = 0
    judged_at: float = 0.0


class Admission:
    """The records that a worker has taken and not finished. Not thread-safe: the poll thread owns it.

    `limit_records`, `limit_bytes`: how much of the lanes may be admitted. Records of the overflow topics have a quarter
    of that on top; the caller gives each of their partitions its part. `slow_after_s`: a tenant is moved when its share
    would take longer to drain. `slots`: how many jobs run at once; may be changed. `all_slots_used`: whether every slot
    that a job could run in is in use. `share`: records that one tenant may hold: an equal part, with one part kept free
    for a tenant that has none yet. `alone`: a tenant that should be moved has the worker to itself.
    """

    def __init__(
        self,
        limit_records: int,
        limit_bytes: int,
        slow_after_s: float,
        slots: int,
        all_slots_used: Callable[[], bool] = lambda: True,
    ) -> None:
        self.slots = slots
        self.limit_records = limit_records
        self.latest = LatestJobs()
        self.alone = False
        self._all_slots_used = all_slots_used
        self._slots_used_at = float("-inf")
        self._held_back = False
        self._limit_bytes = limit_bytes
        self._slow_after_s = slow_after_s
        self._records = 0
        self._bytes = 0
        self._overflow_records = 0
        self._overflow_bytes = 0
        self._by_tenant: dict[str, int] = {}
        self._excess: dict[str, _Excess] = {}
        # How many of those are moving, and how many keep records.
        self._moving = self._keeping = 0
        self._smallest_share = max(1, limit_records // SMALLEST_PART)
        self._share_out()

    @property
    def records(self) -> int:
        return self._records + self._overflow_records

    @property
    def full(self) -> bool:
        """Whether nothing more may be taken from the lanes.

        While a tenant is being moved the limit is twice as high, so that the records behind its own are reached; while
        one keeps records for their order, ten times as many records are admitted within the same bytes."""
        factor = MOVING_FACTOR if self._moving and not self.alone else 1
        records = KEYED_FACTOR if self._keeping else factor
        return self._records >= records * self.limit_records or self._bytes >= factor * self._limit_bytes

    @property
    def roomy(self) -> bool:
        """Whether enough has finished to take records again."""
        if self._moving and not self.alone:
            return not self.full
        return 4 * self._records <= 3 * self.limit_records and 4 * self._bytes <= 3 * self._limit_bytes

    @property
    def overflow_full(self) -> bool:
        """Whether nothing more may be taken from the overflow topics, which have a quarter of the bytes."""
        return 4 * self._overflow_bytes >= self._limit_bytes

    def take(self, tenant: str, size: int, overflow: bool = False, kept: bool = False) -> None:
        """Note a record of `size` bytes that was taken. `kept`: it exceeds the share but cannot be moved."""
        if overflow:
            self._overflow_records += 1
            self._overflow_bytes += size
            return
        self._records += 1
        self._bytes += size
        before = self._by_tenant.get(tenant, 0)
        self._by_tenant[tenant] = before + 1
        if not before:
            self._share_out()
        if kept and not self._excess[tenant].keeps:
            self._excess[tenant].keeps = True
            self._keeping += 1

    def finish(self, tenant: str, size: int, overflow: bool = False, ran_s: float = 0.0) -> None:
        """Note that a record was finished after running for `ran_s` seconds, or was dropped."""
        if overflow:
            self._overflow_records -= 1
            self._overflow_bytes -= size
            return
        self._records -= 1
        self._bytes -= size
        left = self._by_tenant[tenant] - 1
        if left:
            self._by_tenant[tenant] = left
        else:
            del self._by_tenant[tenant]
            self._share_out()
        if self._excess and (excess := self._excess.get(tenant)) is not None:
            excess.finished += 1
            excess.ran_s += ran_s
            if 2 * left <= self.share:
                del self._excess[tenant]
                self._moving -= excess.moving
                self._keeping -= excess.keeps

    def moves(self, tenant: str, now: float) -> bool:
        """Whether the next record of this tenant goes to the overflow topic, unless the tenant is `alone`. `now`:
        seconds, monotonic."""
        excess = self._excess.get(tenant)
        if excess is None:
            if self._by_tenant.get(tenant, 0) >= self.share:
                self._excess[tenant] = _Excess(now)
            return False
        if not excess.moving and now != excess.judged_at:
            excess.judged_at = now
            elapsed = now - excess.since
            if self._occupies_slots(excess, elapsed) or self._is_blocked(excess, elapsed):
                excess.moving = True
                self._moving += 1
                self._settle_alone(now)
            if elapsed >= BLOCKED_AFTER_S and not excess.moving:
                excess.since, excess.finished, excess.ran_s = now, 0, 0.0
        return excess.moving

    def _occupies_slots(self, excess: _Excess, elapsed: float) -> bool:
        """Whether its share drains slowly because its jobs occupy their slots for long."""
        if elapsed < MEASURED_OVER_S or not excess.finished:
            return False
        drain_s = self.share * elapsed / excess.finished
        in_slots_s = self.share * excess.ran_s / excess.finished / self.slots
        return drain_s > self._slow_after_s and 4 * in_slots_s > self._slow_after_s

    def _is_blocked(self, excess: _Excess, elapsed: float) -> bool:
        """Whether its share drains slowly for another reason, such as a quota."""
        return (
            elapsed >= BLOCKED_AFTER_S and self.share * elapsed > BLOCKED_FACTOR * self._slow_after_s * excess.finished
        )

    def _share_out(self) -> None:
        self.share = max(self._smallest_share, self.limit_records // (len(self._by_tenant) + 1))

    def overflow_key(self, tenant: str) -> str:
        """The key of the next record of this tenant that is moved. Those of a tenant of which nothing ends, as of a
        paused one, have one key: they will stop whatever partition they are in."""
        excess = self._excess[tenant]
        number = excess.moved % min(MOST_KEYS, 1 + excess.moved // RECORDS_A_KEY) if excess.finished else 0
        excess.moved += 1
        return f"{tenant}/{number}" if number else tenant

    def settle(self, now: float) -> None:
        """Update the verdict on tenants over their share while none of their records arrive."""
        for tenant in list(self._excess):
            self.moves(tenant, now)
        self._settle_alone(now)

    def is_other(self, tenant: str, lane: str, job_type: str) -> bool:
        """Whether such a job would wait behind those of a tenant that is alone without need."""
        if self.latest.is_other(tenant, lane):
            return True
        return self._held_back and self.latest.is_other_type(job_type)

    def _settle_alone(self, now: float) -> None:
        if not self._moving:
            self.alone = False
            return
        if self._all_slots_used():
            self._slots_used_at = now
        # While slots stay free something holds the jobs back, which may not hold back those of other types.
        self._held_back = now - self._slots_used_at > BLOCKED_AFTER_S
        self.alone = self.latest.one_tenant(now) and not (self._held_back and not self.latest.one_type(now))
