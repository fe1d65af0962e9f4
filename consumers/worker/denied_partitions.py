"""Partitions of topics that the user must not read, for as long as Kafka refuses it.

Offsets of such a partition cannot be committed either, and a transaction that holds one fails with all that is in it.
So nothing of it starts or is written meanwhile, and everything else goes on.
"""

from collections.abc import Callable, Sequence

from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker.status import WorkerStatus


class DeniedPartitions:
    """Suspends and resumes them. Not thread-safe: the poll thread owns it.

    `drop` gives partitions up, with what runs of them; `on_resumed` is called after some were resumed.
    """

    def __init__(
        self,
        members: Sequence[GroupMember],
        denied: DeniedRights,
        status: WorkerStatus,
        drop: Callable[[GroupMember, list[TopicPartition]], None],
        on_resumed: Callable[[], None],
    ) -> None:
        self._members = members
        self._denied = denied
        self._status = status
        self._drop = drop
        self._on_resumed = on_resumed
        self._suspended: set[Assignment] = set()

    def run_once(self) -> None:
        """Follow what Kafka refuses. Does not block."""
        self._denied.run_once()
        problems = self._denied.problems
        if not (problems or self._suspended or self._status.denied):
            return
        self._status.denied = problems
        suspended = set()
        for assignment in (each for member in self._members for each in member.assignments.values()):
            if not self._denied.refuses_topic(assignment.topic):
                continue
            if assignment.writable:
                assignment.suspend()
                suspended.add(assignment)
            elif assignment in self._suspended:
                suspended.add(assignment)
        resumed = [each for each in self._suspended - suspended if each.held]
        self._suspended = suspended
        for assignment in resumed:
            assignment.writable = assignment.uncommitted = True
        if resumed:
            self._on_resumed()

    def drop_all(self) -> None:
        """The worker drains: what cannot be written is left to others, so nothing waits for it."""
        for member in self._members:
            dropped = [each for each in member.assignments.values() if each in self._suspended]
            if dropped:
                self._drop(member, [TopicPartition(*each.topic_partition) for each in dropped])
        self._suspended = set()

    def rejoins(self, member: GroupMember) -> bool:
        """Whether a member waits for its group, which does not refuse it."""
        return member.rejoining and not self._denied.refuses_group(member.group)
