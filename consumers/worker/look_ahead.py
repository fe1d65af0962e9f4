"""Reads on in lanes that are full of one tenant's jobs, to learn whether anybody waits behind them.

What is read here is not taken: it is read again when there is room, or at once when somebody's job is found, so that
the jobs before it are moved. A tenant that is alone is not moved, which would only take its jobs away from other
workers.
"""

from collections.abc import Sequence

from confluent_kafka import Message

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker.scheduling.admission import Admission
from millstream.schemas import DecodeError, RegistryUnavailable, RequestReader


class LookAhead:
    """Not thread-safe: the poll thread owns it. `active`: messages of the lanes are only looked at."""

    def __init__(self, requests: RequestReader, admission: Admission) -> None:
        self._requests = requests
        self._admission = admission
        self.active = False
        # The next offset to look at. It is kept, so that the same records are not looked at each time.
        self._next: dict[Assignment, int] = {}

    def begin(self, member: GroupMember, assignments: Sequence[Assignment]) -> None:
        """Look at what follows in these partitions, which are not paused."""
        self.active = True
        for assignment in assignments:
            if self._next.get(assignment, 0) > assignment.next_offset:
                assignment.passed = True
                member.seek(assignment, self._next[assignment])

    def look(self, member: GroupMember, messages: Sequence[Message], now: float) -> list[Message]:
        """Look at messages; returns those that are errors. `now`: seconds, monotonic."""
        errors, found = [], False
        for message in messages:
            if message.error():
                errors.append(message)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            assignment = member.assignments.get((topic, partition))
            if assignment is None:
                continue
            assignment.passed = True
            if not found:
                self._next[assignment] = offset
                found = self._waits_behind(message.value(), assignment.lane, now)
        return errors

    def end(self, members: Sequence[GroupMember]) -> None:
        """Read on from where the last record was taken. Partitions that are paused do so when they are resumed."""
        self.active = False
        for member in members:
            for assignment in member.assignments.values():
                if assignment.passed and not assignment.paused:
                    member.seek(assignment, assignment.next_offset)
                assignment.passed = False
        self._next = {each: offset for each, offset in self._next.items() if each.held and offset > each.next_offset}

    def _waits_behind(self, value: bytes | None, lane: str, now: float) -> bool:
        try:
            read = self._requests.read(value)
        except (DecodeError, RegistryUnavailable):
            return False
        job_type = read.shared.job_type
        if not self._admission.is_other(read.tenant, lane, job_type):
            return False
        self._admission.latest.note(read.tenant, lane, job_type, now)
        return True
