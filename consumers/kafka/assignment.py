"""A partition in this worker's hands, from assignment to revocation."""

from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from millstream.consumers.kafka.offset_ledger import OffsetLedger


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition during one assignment. The object is the epoch: the next assignment of the same partition is
    another object, so a late completion of this one is told by identity and dropped.

    `first_offset`: where reading began. `born`: the number of the rebalance that gave it.
    `starting`: its jobs may begin. `held`: outcomes may be written. `changed`: there is something to commit.
    `paused`: nothing of it is fetched now. `lane`: the lane it belongs to, or `<lane>.overflow`.
    """

    topic: str
    partition: int
    lane: str = ""
    overflow: bool = False
    ledger: OffsetLedger = field(default_factory=OffsetLedger)
    first_offset: int = OFFSET_BEGINNING
    born: int = 0
    starting: bool = True
    held: bool = True
    changed: bool = False
    paused: bool = False

    @property
    def place(self) -> tuple[str, int]:
        return self.topic, self.partition

    @property
    def next_offset(self) -> int:
        """Where to go on reading."""
        return self.first_offset if self.ledger.next is None else self.ledger.next

    def finish(self, offset: int) -> None:
        """Note that `offset` has its outcome."""
        self.ledger.finish(offset)
        self.changed = True

    def give_up(self) -> None:
        """The partition is another worker's: nothing of it may begin or be written here."""
        self.starting = self.held = False

    def offset_to_commit(self) -> TopicPartition | None:
        """What the next commit says of this partition; None when nothing changed since the last one."""
        checkpoint = self.ledger.checkpoint() if self.changed else None
        if checkpoint is None:
            return None
        return TopicPartition(self.topic, self.partition, checkpoint.offset, checkpoint.metadata)
