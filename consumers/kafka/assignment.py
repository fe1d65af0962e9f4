"""One partition during one assignment, from the rebalance that assigns it to the one that takes it away."""

from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from millstream.consumers.kafka.offset_ledger import OffsetLedger


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition during one assignment. The object itself is the assignment epoch: the next assignment of the same
    partition is another object, so a late completion of this one is recognised by identity and dropped.

    `lane`: the lane of the topic, or `<lane>.overflow`. `overflow`: whether the topic is an overflow topic.
    `first_offset`: where reading began. `rebalance`: the number of the rebalance that assigned it.
    `may_start`: its jobs may start. `held`: its outcomes may be written. `uncommitted`: the ledger has changed since
    the last commit. `paused`: nothing is fetched for it.
    """

    topic: str
    partition: int
    lane: str = ""
    overflow: bool = False
    ledger: OffsetLedger = field(default_factory=OffsetLedger)
    first_offset: int = OFFSET_BEGINNING
    rebalance: int = 0
    may_start: bool = True
    held: bool = True
    uncommitted: bool = False
    paused: bool = False

    @property
    def topic_partition(self) -> tuple[str, int]:
        """The key under which a group member keeps it."""
        return self.topic, self.partition

    @property
    def next_offset(self) -> int:
        """The next offset to read."""
        return self.first_offset if self.ledger.next is None else self.ledger.next

    def finish(self, offset: int) -> None:
        """Note that `offset` has its outcome. Raises `UnknownOffset` if it was never taken or already finished."""
        self.ledger.finish(offset)
        self.uncommitted = True

    def release(self) -> None:
        """The partition belongs to another member from here on: nothing of it starts or is written here."""
        self.may_start = self.held = False

    def offset_to_commit(self) -> TopicPartition | None:
        """Offset and metadata for the next commit; None when nothing has changed since the last one."""
        checkpoint = self.ledger.checkpoint() if self.uncommitted else None
        if checkpoint is None:
            return None
        return TopicPartition(self.topic, self.partition, checkpoint.offset, checkpoint.metadata)
