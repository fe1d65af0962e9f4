"""A worker's place in one consumer group.

Each lane has a consumer group of its own, `<group>.<lane>`, and all overflow topics share one, `<group>.overflow`.
Group protocols balance how many partitions a member has of all topics together, not of each: in one group for all
lanes, the second of two workers is given half of all partitions in the order of their topics, which may be one lane
whole and nothing of another. In a group for each lane every worker has its part of each lane.
"""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.transaction import Commit, WriterBroken

TAKE_AT_ONCE = 500
ASK_EVERY_S = 0.005
"""How often a lane that had nothing is asked again."""

Rebalanced = Callable[["GroupMember", list[TopicPartition]], None]


class GroupMember:
    """One consumer and what it is assigned. Not thread-safe: the poll thread owns it.

    `lanes`: the lane of each of its topics. `joined`: the group has said what this worker's part is, perhaps nothing.
    """

    def __init__(self, group: str, consumer: Consumer, lanes: dict[str, str], overflow: bool) -> None:
        self.group = group
        self.consumer = consumer
        self.lanes = lanes
        self.overflow = overflow
        self.rebalances = 0
        self.joined = False
        self.assignments: dict[tuple[str, int], Assignment] = {}
        self._left_paused: set[tuple[str, int]] = set()
        self._had_nothing_at = float("-inf")

    def join(self, on_assign: Rebalanced, on_revoke: Rebalanced, on_lost: Rebalanced) -> None:
        """Subscribe; the callbacks run inside `arrived` and `wait`, and while closing."""

        def call(rebalanced: Rebalanced) -> Callable[[Consumer, list[TopicPartition]], None]:
            def callback(_: Consumer, partitions: list[TopicPartition]) -> None:
                self.rebalances += 1
                rebalanced(self, partitions)

            return callback

        self.consumer.subscribe(
            list(self.lanes), on_assign=call(on_assign), on_revoke=call(on_revoke), on_lost=call(on_lost)
        )

    def assign(self, assignments: Sequence[Assignment]) -> None:
        """Begin to read these, each from its first offset."""
        self.assignments |= {each.place: each for each in assignments}
        self.consumer.incremental_assign([TopicPartition(*each.place, each.first_offset) for each in assignments])
        # A partition that was paused when it was handed over is still paused when it comes back.
        self.consumer.resume([TopicPartition(*each.place) for each in assignments if each.place in self._left_paused])
        self._left_paused -= {each.place for each in assignments}
        self.joined = True

    def let_go(self, place: tuple[str, int]) -> Assignment | None:
        """Forget a partition; returns its assignment, if there was one."""
        assignment = self.assignments.pop(place, None)
        if assignment is not None and assignment.paused:
            self._left_paused.add(place)
        return assignment

    def arrived(self) -> list[Message]:
        """What is there, without waiting. What had nothing a moment ago is not asked: each call gives the interpreter's
        lock away, and while handlers compute it takes a while to come back."""
        now = time.monotonic()
        if now - self._had_nothing_at < ASK_EVERY_S:
            return []
        messages = self._fetch(lambda: self.consumer.consume(TAKE_AT_ONCE, 0))
        if not messages:
            self._had_nothing_at = now
        return messages

    def wait(self, timeout_s: float) -> list[Message]:
        """The next message, as soon as there is one; nothing after `timeout_s`."""
        messages = self._fetch(lambda: [first] if (first := self.consumer.poll(timeout_s)) else [])
        if messages:
            self._had_nothing_at = float("-inf")
        return messages

    def commit(self) -> Commit | None:
        """What the next transaction says of this group; None when nothing changed since the last time."""
        offsets = [offset for each in self.assignments.values() if (offset := each.offset_to_commit())]
        if not offsets:
            return None
        for assignment in self.assignments.values():
            assignment.changed = False
        return Commit(offsets, self.consumer.consumer_group_metadata())

    def commit_again(self, commits: Sequence[Commit]) -> None:
        """The transaction with these was aborted."""
        for commit in commits:
            for offset in commit.offsets:
                if (assignment := self.assignments.get((offset.topic, offset.partition))) is not None:
                    assignment.changed = True

    def pause(self, assignments: Sequence[Assignment]) -> None:
        self.consumer.pause([TopicPartition(*each.place) for each in assignments])

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Fetch again. Where the client would go on may be long before what was read, so it is told."""
        self.consumer.resume([TopicPartition(*each.place) for each in assignments])
        for assignment in assignments:
            self.go_to(assignment, assignment.next_offset)

    def go_to(self, assignment: Assignment, offset: int) -> None:
        """Read on from there."""
        try:
            self.consumer.seek(TopicPartition(*assignment.place, offset))
        except KafkaException as error:
            raise WriterBroken(f"cannot go to offset {offset} of {assignment.place}: {error.args[0]}") from error

    def _fetch(self, fetch: Callable[[], list[Message]]) -> list[Message]:
        """Messages of partitions that stayed. When a rebalance ran while they were fetched, it cannot be told whether
        one of a new assignment belongs to it or to the one before, so those partitions start from their commit."""
        before = self.rebalances
        messages = fetch()
        if self.rebalances == before:
            return messages
        new = {place: each for place, each in self.assignments.items() if each.born > before}
        for assignment in new.values():
            self.go_to(assignment, assignment.first_offset)
        return [each for each in messages if each.error() or (each.topic(), each.partition()) not in new]
