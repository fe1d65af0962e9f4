"""How much a worker has taken and not finished, and which tenant takes more than its share of it.

A tenant that holds its share of the window and does not drain it is moved: its further records go to the lane's
overflow topic, so that what lies behind them in the partition is reached. A tenant that drains its share fast is left
alone, and so is one whose jobs are so short that the worker itself is what takes the time: running them is as quick as
moving them. Jobs with an ordering key must stay where their order is, so for them the window stretches instead, as far
as its bytes allow. Pure: the caller says what time it is.
"""

from collections import Counter
from dataclasses import dataclass

MEASURED_OVER_S = 0.1
MOVED_STRETCH = 2
KEPT_STRETCH = 10
HELD_UP_S = 1.0
HELD_UP_TIMES = 8
"""A share that takes so many times the allowed time to drain is moved though its jobs are short: a quota holds it."""


@dataclass(slots=True)
class _Excess:
    """A tenant over its share: since when, what it finished since and for how long that ran, and the verdict. `keeps`:
    some of its records stay here though they should be moved."""

    since: float
    finished: int = 0
    ran_s: float = 0.0
    moving: bool = False
    keeps: bool = False
    judged_at: float = 0.0


class Admission:
    """The records in a worker's hands. Not thread-safe: the poll thread owns it.

    `limit_records`, `limit_bytes`: what the window holds of the lanes. What comes back from the overflow topics has a
    quarter of that, on top; the caller gives each of their partitions its part of the records. `slow_after_s`: a tenant
    is moved when its share would take longer to drain. `places`: how many jobs run at once; may be changed. `share`:
    records that one tenant may hold, an equal part, with one part left free for a tenant that has none yet.
    """

    def __init__(self, limit_records: int, limit_bytes: int, slow_after_s: float, places: int) -> None:
        self.places = places
        self.limit_records = limit_records
        self._limit_bytes = limit_bytes
        self._slow_after_s = slow_after_s
        self._records = 0
        self._bytes = 0
        self._overflow_records = 0
        self._overflow_bytes = 0
        self._by_tenant: Counter[str] = Counter()
        self._excess: dict[str, _Excess] = {}
        self._share_out()

    @property
    def records(self) -> int:
        return self._records + self._overflow_records

    @property
    def full(self) -> bool:
        """Whether nothing more may be taken from the lanes. While a tenant is moved the window stretches to twice its
        size, so that its records go by and the others' are reached; while one should be and keeps its records for their
        order, to ten times as many records of not more bytes."""
        stretch = MOVED_STRETCH if self._moving else 1
        records = KEPT_STRETCH if any(each.keeps for each in self._excess.values()) else stretch
        return self._records >= records * self.limit_records or self._bytes >= stretch * self._limit_bytes

    @property
    def roomy(self) -> bool:
        """Whether enough is finished to begin taking again."""
        if self._moving:
            return not self.full
        return 4 * self._records <= 3 * self.limit_records and 4 * self._bytes <= 3 * self._limit_bytes

    @property
    def overflow_full(self) -> bool:
        """Whether nothing more may be taken from the overflow topics: their records take a quarter of the bytes."""
        return 4 * self._overflow_bytes >= self._limit_bytes

    def take(self, tenant: str, size: int, overflow: bool = False, kept: bool = False) -> None:
        """Note a record of `size` bytes that was taken. `kept`: it should be moved, and must not be."""
        if overflow:
            self._overflow_records += 1
            self._overflow_bytes += size
            return
        self._records += 1
        self._bytes += size
        self._by_tenant[tenant] += 1
        if self._by_tenant[tenant] == 1:
            self._share_out()
        if kept:
            self._excess[tenant].keeps = True

    def finish(self, tenant: str, size: int, overflow: bool = False, ran_s: float = 0.0) -> None:
        """Note that it is finished, after running so long, or given up."""
        if overflow:
            self._overflow_records -= 1
            self._overflow_bytes -= size
            return
        self._records -= 1
        self._bytes -= size
        self._by_tenant[tenant] -= 1
        if not self._by_tenant[tenant]:
            del self._by_tenant[tenant]
            self._share_out()
        if (excess := self._excess.get(tenant)) is not None:
            excess.finished += 1
            excess.ran_s += ran_s
            if 2 * self._by_tenant.get(tenant, 0) <= self.share:
                del self._excess[tenant]

    def moves(self, tenant: str, now: float) -> bool:
        """Whether the next record of this tenant goes to the overflow topic."""
        excess = self._excess.get(tenant)
        if excess is None:
            if self._by_tenant.get(tenant, 0) >= self.share:
                self._excess[tenant] = _Excess(now)
            return False
        if not excess.moving and now != excess.judged_at:
            excess.judged_at = now
            elapsed = now - excess.since
            excess.moving = self._fills_places(excess, elapsed) or self._held_up(excess, elapsed)
            if elapsed >= HELD_UP_S and not excess.moving:
                excess.since, excess.finished, excess.ran_s = now, 0, 0.0
        return excess.moving

    def _fills_places(self, excess: _Excess, elapsed: float) -> bool:
        """Whether its share drains slowly because its jobs hold their places for long."""
        if elapsed < MEASURED_OVER_S or not excess.finished:
            return False
        drain_s = self.share * elapsed / excess.finished
        in_places_s = self.share * excess.ran_s / excess.finished / self.places
        return drain_s > self._slow_after_s and 4 * in_places_s > self._slow_after_s

    def _held_up(self, excess: _Excess, elapsed: float) -> bool:
        """Whether its share drains slowly for another reason, such as a quota."""
        return elapsed >= HELD_UP_S and self.share * elapsed > HELD_UP_TIMES * self._slow_after_s * excess.finished

    def _share_out(self) -> None:
        self.share = max(1, self.limit_records // (len(self._by_tenant) + 1))

    @property
    def _moving(self) -> bool:
        return any(each.moving for each in self._excess.values())

    def settle(self, now: float) -> None:
        """Judge the tenants over their share although no record of theirs arrives, as when the window is full."""
        for tenant in list(self._excess):
            self.moves(tenant, now)
