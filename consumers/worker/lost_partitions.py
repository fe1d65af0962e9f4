"""Partitions whose group membership was lost, until the group says whose they are.

A member loses its group when the group's coordinator does not answer for the session timeout, so when a broker is away
for a moment. The group assigns its partitions to the members that come back. What nobody has committed meanwhile goes
on where it was, with the jobs that run; a partition that somebody else has had is dropped. Pure.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.settlement import same_commit

KEPT_FOR_S = 60.0
"""How long a lost partition is kept while no broker answers."""

ASSIGNED_WITHIN_S = 5.0
"""How long after the member has come back its group may take to assign a lost partition to it again."""


@dataclass(slots=True)
class _Lost:
    assignment: Assignment
    group: str
    drop_at: float


class LostPartitions:
    """Not thread-safe: the poll thread owns it.

    `clock`: seconds of a monotonic clock. `is_writing`: whether it is unknown what becomes of a transaction with
    offsets of a partition.
    """

    def __init__(self, clock: Callable[[], float], is_writing: Callable[[Assignment], bool]) -> None:
        self._clock = clock
        self._is_writing = is_writing
        self._lost: dict[tuple[str, int], _Lost] = {}

    def __len__(self) -> int:
        return len(self._lost)

    def suspend(self, group: str, assignment: Assignment) -> None:
        """Keep a partition that was lost: nothing of it starts or is written, and what runs goes on."""
        assignment.suspend()
        self._lost[assignment.topic_partition] = _Lost(assignment, group, self._clock() + KEPT_FOR_S)

    def undecided(self, topic_partition: tuple[str, int]) -> bool:
        """Whether the commit of a kept partition says nothing yet, because its last transaction is under way."""
        lost = self._lost.get(topic_partition)
        return lost is not None and self._is_writing(lost.assignment)

    def resume(self, committed: TopicPartition, rebalance: int) -> Assignment | None:
        """The kept assignment of a partition that is assigned again in this rebalance. None, and it is released, when
        somebody else has committed meanwhile, and when there is none."""
        lost = self._lost.pop((committed.topic, committed.partition), None)
        if lost is None:
            return None
        before = lost.assignment.committed
        if before is None or not same_commit(before, committed):
            lost.assignment.release()
            return None
        lost.assignment.resume(rebalance)
        return lost.assignment

    def came_back(self, group: str, assigned: Collection[tuple[str, int]]) -> None:
        """The member is in its group again, which assigns these to it: they are kept until `resume`, however long it
        takes to read their commits."""
        for key, each in self._lost.items():
            if key in assigned:
                each.drop_at = math.inf
            elif each.group == group:
                each.drop_at = min(each.drop_at, self._clock() + ASSIGNED_WITHIN_S)

    def lost_again(self, group: str) -> None:
        """The member has lost its group before its partitions could be resumed."""
        for each in self._lost.values():
            if each.group == group:
                each.drop_at = self._clock() + KEPT_FOR_S

    def give_up(self, topic_partitions: Iterable[tuple[str, int]]) -> None:
        """The group has taken these away again: release them."""
        self._release([key for key in topic_partitions if key in self._lost])

    def release_expired(self) -> Sequence[Assignment]:
        """Release those that were kept for long enough, and return them."""
        now = self._clock()
        return self._release([key for key, each in self._lost.items() if each.drop_at <= now])

    def release_all(self) -> Sequence[Assignment]:
        """Release all, and return them."""
        return self._release(list(self._lost))

    def _release(self, keys: Sequence[tuple[str, int]]) -> Sequence[Assignment]:
        released = [self._lost.pop(key).assignment for key in keys]
        for assignment in released:
            assignment.release()
        return released
