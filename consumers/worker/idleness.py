"""Whether a worker is idle: it has had neither a job nor a rebalance for a while."""

import time
from collections.abc import Sequence

from millstream.consumers.kafka.group_member import GroupMember

IDLE_AFTER_S = 5.0
"""A worker that has had nothing to do for this long polls less often."""


class Idleness:
    """Not thread-safe: the poll thread owns it."""

    def __init__(self, members: Sequence[GroupMember]) -> None:
        self._members = members
        self._rebalances = 0
        self._active_at = time.monotonic()

    def holds(self, jobs: int, now: float) -> bool:
        """Whether the worker is idle, which has so many jobs at `now`, in seconds of the monotonic clock."""
        rebalances = sum(member.rebalances for member in self._members)
        if jobs or rebalances != self._rebalances:
            self._active_at, self._rebalances = now, rebalances
        return now - self._active_at > IDLE_AFTER_S
