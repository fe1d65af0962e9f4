"""One partition during one assignment, from the rebalance that assigns it to the one that takes it away."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from millstream.consumers.kafka.offset_ledger import OffsetLedger
from millstream.consumers.kafka.running_elsewhere import ANNOUNCED


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition during one assignment. The object itself is the assignment epoch: the next assignment of the same
    partition is another object, so a late completion of this one is recognised by identity and dropped.

    `lane`: the lane of the topic, or `<lane>.overflow`. `overflow`: whether the topic is an overflow topic.
    `cluster_id`: the cluster that has it. `first_offset`: where reading began. `rebalance`: the number of the rebalance
    that assigned it. `announced`: jobs of it go on at this worker after it is given back. `awaited`: offsets whose jobs
    the previous owner still runs. `may_start`: its jobs may start. `held`: its outcomes may be written, now or later.
    `writable`: they may be written now; nothing starts or is written of a partition that is held and not writable
    (`suspend`). `uncommitted`: the ledger has changed since the last commit. `committed`: the last commit that is
    known. `paused`: nothing is fetched for it. `waiting`: it must stay paused until earlier jobs of its keys, which
    are in another partition, are done. `passed`: the consumer has read records that were not taken.
    """

    topic: str
    partition: int
    lane: str = ""
    overflow: bool = False
    cluster_id: str = ""
    ledger: OffsetLedger = field(default_factory=OffsetLedger)
    first_offset: int = OFFSET_BEGINNING
    rebalance: int = 0
    announced: bool = False
    awaited: set[int] = field(default_factory=set)
    may_start: bool = True
    held: bool = True
    writable: bool = True
    uncommitted: bool = False
    committed: TopicPartition | None = None
    paused: bool = False
    waiting: bool = False
    passed: bool = False

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
        self.may_start = self.held = self.writable = False

    def reopen(self, offsets: Iterable[int]) -> None:
        """Note that offsets, which were finished, are not to be committed yet: their outcomes are not written."""
        self.ledger.reopen(offsets)
        self.uncommitted = True

    def suspend(self) -> None:
        """The group membership was lost. What runs goes on, until the group says whose the partition is now."""
        self.writable = False

    def resume(self, rebalance: int) -> None:
        """The group assigned the partition to this member again, and nobody else has committed meanwhile."""
        self.writable, self.rebalance = True, rebalance
        # The member reads a partition that was paused again.
        self.paused = False
        self.first_offset = self.next_offset

    def offset_to_commit(self) -> TopicPartition | None:
        """Offset and metadata for the next commit; None when nothing has changed since the last one."""
        checkpoint = self.ledger.checkpoint() if self.uncommitted else None
        if checkpoint is None:
            return None
        announced = ANNOUNCED if self.announced or self.awaited else ""
        return TopicPartition(self.topic, self.partition, checkpoint.offset, announced + checkpoint.metadata)
