"""Partitions that wait at a record whose schema is not known while the schema registry is unavailable. They are read
again from that record after a while, here or by their next owner. Pure but for its log."""

import structlog

from millstream.consumers.kafka.assignment import Assignment
from millstream.schemas import RegistryUnavailable

log = structlog.get_logger(__name__)

RETRY_S = 3.0
WARN_INTERVAL_S = 60.0


class DeferredPartitions:
    """Which partitions wait. Not thread-safe: the poll thread owns it. `now`: seconds, monotonic."""

    def __init__(self) -> None:
        self._until: dict[Assignment, float] = {}
        self._warned: dict[tuple[str, int], float] = {}

    def defer(self, assignment: Assignment, offset: int, problem: RegistryUnavailable, now: float) -> None:
        """Read the partition again from `offset` in a while. Warns once a minute."""
        self._until[assignment] = now + RETRY_S
        place = assignment.topic_partition
        if now - self._warned.get(place, float("-inf")) < WARN_INTERVAL_S:
            return
        self._warned[place] = now
        log.warning(
            "schema_registry_unavailable",
            topic=assignment.topic,
            partition=assignment.partition,
            offset=offset,
            reason=str(problem),
            action="its partition waits, the others go on",
        )

    def expire(self, now: float) -> None:
        """Let partitions be read again whose time has come, and forget those that are not held any more."""
        if self._until:
            self._until = {each: until for each, until in self._until.items() if each.held and now < until}

    def __contains__(self, assignment: Assignment) -> bool:
        return assignment in self._until

    def __len__(self) -> int:
        return len(self._until)
