"""A member of one consumer group: its consumer, what it is assigned, and where it reads."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.membership import Membership, give_up
from millstream.consumers.kafka.transaction import Commit, ProducerLost

FETCH_AT_ONCE = 500
FIRST_AT_ONCE = 16
FETCH_BYTES = 4 * 1024 * 1024
"""How much is fetched at once, or twice that: large records must not be in memory all together. How many that are is
learnt from those before."""

FETCH_INTERVAL_S = 0.005
"""How soon a member that had nothing is asked again."""


class RebalanceListener(Protocol):
    """Reacts to rebalances. Called on the thread that polls, inside `fetch` and `poll` of the member."""

    def on_assign(self, member: "GroupMember", partitions: list[TopicPartition]) -> None:
        """The group assigned these partitions; call `member.assign` for those to read."""

    def on_revoke(self, member: "GroupMember", partitions: list[TopicPartition]) -> None:
        """The group wants these back. Until this returns no other member gets them; call `member.unassign` last."""

    def on_lost(self, member: "GroupMember", partitions: list[TopicPartition]) -> None:
        """The group went on without this member, so others may read these by now: write nothing more of them."""


class GroupMember:
    """One consumer and its assignments. Not thread-safe: the poll thread owns it.

    `lanes`: the lane of each topic it subscribes to. `overflow`: whether those are overflow topics. `joined`: the group
    has sent this member its part, which may be empty. `rebalances`: how many there were so far.
    `rejoining`: it waits for its group's answer; leaving the group would wait for it too.
    """

    def __init__(self, group: str, consumer: Consumer, lanes: dict[str, str], overflow: bool) -> None:
        self.group = group
        self.consumer = consumer
        self.lanes = lanes
        self.overflow = overflow
        self.rebalances = 0
        self.joined = False
        self.rejoining = True
        self.assignments: dict[tuple[str, int], Assignment] = {}
        self.on_assigned: Callable[[], None] = lambda: None
        """Called when the group has let this member in."""
        self._membership = Membership(consumer)
        self._removed_while_paused: set[tuple[str, int]] = set()
        self._empty_at = float("-inf")
        self._at_once = FIRST_AT_ONCE

    def join(self, listener: RebalanceListener) -> None:
        """Subscribe. Returns at once; the group assigns partitions while the member is polled."""

        def counted(
            react: Callable[[GroupMember, list[TopicPartition]], None], rejoins: bool
        ) -> Callable[[Consumer, list[TopicPartition]], None]:
            def callback(_: Consumer, partitions: list[TopicPartition]) -> None:
                self.rebalances += 1
                self.rejoining = rejoins
                react(self, partitions)

            return callback

        self._membership.join(
            list(self.lanes),
            on_assign=counted(listener.on_assign, rejoins=False),
            on_revoke=counted(listener.on_revoke, rejoins=True),
            on_lost=counted(listener.on_lost, rejoins=True),
        )

    def assign(self, assignments: Sequence[Assignment]) -> None:
        """Start to read these, each from its first offset."""
        self.joined = True
        self.on_assigned()
        self.assignments |= {each.topic_partition: each for each in assignments}
        self.consumer.incremental_assign(
            [TopicPartition(*each.topic_partition, each.first_offset) for each in assignments]
        )
        # librdkafka keeps a partition paused over revocation and reassignment.
        paused = [each for each in assignments if each.topic_partition in self._removed_while_paused]
        self.consumer.resume([TopicPartition(*each.topic_partition) for each in paused])
        self._removed_while_paused -= {each.topic_partition for each in assignments}

    def remove(self, topic_partition: tuple[str, int]) -> Assignment | None:
        """Drop a partition from `assignments`; returns its assignment, if there was one."""
        assignment = self.assignments.pop(topic_partition, None)
        if assignment is not None and assignment.paused:
            self._removed_while_paused.add(topic_partition)
        return assignment

    def unassign(self, partitions: list[TopicPartition]) -> None:
        """Give partitions back to the group, at the end of `on_revoke` and `on_lost`."""
        give_up(self.consumer, partitions)

    def leave(self) -> None:
        """Leave the group, unless it is left already. The listener hears of no rebalance any more. Blocks while a join
        is under way."""
        self._membership.leave()

    def fetch(self) -> list[Message]:
        """What has arrived, without waiting. A member that had nothing a moment ago is not asked: each call gives up
        the interpreter's lock, and while handlers compute it takes a while to get it back."""
        now = time.monotonic()
        if now - self._empty_at < FETCH_INTERVAL_S:
            return []
        messages = self._of_standing_assignments(lambda: self.consumer.consume(self._at_once, 0))
        if not messages:
            self._empty_at = now
            return messages
        # The length of a message is that of its value.
        fetched = sum(map(len, messages))
        if fetched > FETCH_BYTES:
            self._at_once = max(1, len(messages) * FETCH_BYTES // fetched)
        else:
            self._at_once = min(FETCH_AT_ONCE, 2 * self._at_once)
        return messages

    def poll(self, timeout_s: float) -> list[Message]:
        """The next message as soon as there is one; empty after `timeout_s` seconds without one."""
        messages = self._of_standing_assignments(lambda: self._poll_one(timeout_s))
        if messages:
            self._empty_at = float("-inf")
        return messages

    def commit(self) -> Commit | None:
        """The group's offsets for the next transaction; None when nothing has changed since the last one."""
        writable = [each for each in self.assignments.values() if each.writable]
        offsets = [offset for each in writable if (offset := each.offset_to_commit())]
        if not offsets:
            return None
        for assignment in writable:
            assignment.uncommitted = False
        return Commit(offsets, self.consumer.consumer_group_metadata())

    def commit_again(self, commits: Sequence[Commit]) -> None:
        """The transaction with these offsets was aborted: the next one commits them."""
        for commit in commits:
            for offset in commit.offsets:
                if (assignment := self.assignments.get((offset.topic, offset.partition))) is not None:
                    assignment.uncommitted = True

    def pause(self, assignments: Sequence[Assignment]) -> None:
        """Fetch nothing more for these."""
        self.consumer.pause([TopicPartition(*each.topic_partition) for each in assignments])

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Fetch again, from the next offset that was not taken: librdkafka may resume at an older position, and what
        was passed is read again."""
        self.consumer.resume([TopicPartition(*each.topic_partition) for each in assignments])
        for assignment in assignments:
            self.seek(assignment, assignment.next_offset)
            assignment.passed = False

    def seek(self, assignment: Assignment, offset: int) -> None:
        """Read on from `offset`. Raises `ProducerLost`, after which the worker starts over, when the client cannot."""
        try:
            self.consumer.seek(TopicPartition(*assignment.topic_partition, offset))
        except KafkaException as error:
            where = f"{assignment.topic}[{assignment.partition}]"
            raise ProducerLost(f"cannot seek to offset {offset} of {where}: {error.args[0]}") from error

    def _poll_one(self, timeout_s: float) -> list[Message]:
        first = self.consumer.poll(timeout_s)
        # Not its truth: a message is as long as its value, so one without a value would count as none.
        return [] if first is None else [first]

    def _of_standing_assignments(self, fetch: Callable[[], list[Message]]) -> list[Message]:
        """Messages of partitions that were assigned before the fetch. If a rebalance ran inside it, a message of a
        partition that is assigned anew may belong to the assignment before, so those partitions are read again from
        their first offset."""
        before = self.rebalances
        messages = fetch()
        if self.rebalances == before:
            return messages
        new = {key: each for key, each in self.assignments.items() if each.rebalance > before}
        for assignment in new.values():
            self.seek(assignment, assignment.first_offset)
        return [each for each in messages if each.error() or (each.topic(), each.partition()) not in new]
