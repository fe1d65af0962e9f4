"""The partitions that a sink owns, and the commits that announce and acknowledge its batches."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, TopicPartition

from millstream.consumers.sink.batch import InsertBatch, PartitionBuffer
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.writer import InsertResult

ROW_OVERHEAD = 200
"""Memory of one waiting record besides its key and value, in bytes."""

FILE_OVERHEAD = 50
"""What a record takes in the file of an insert besides its value, in bytes."""


@dataclass(slots=True)
class Hold:
    """What a partition waits for: the schema of `header`. `offset`: its first record that cannot be inserted yet.
    `since` and `warned_at` are in monotonic seconds; `warned_at` is None until the operator is told. `cause`: what was
    told last."""

    offset: int
    header: bytes
    since: float = field(default_factory=time.monotonic)
    warned_at: float | None = None
    cause: str = ""


@dataclass(eq=False)
class SinkPartition:
    """One assigned partition. A new assignment is a new object, so what an old one left behind is never mixed in.

    `batch`: cut and not inserted yet. `insert`: its insert under way. `inserted`: everything before this offset is
    inserted, while no commit has acknowledged it. `failures`: tries of the batch that failed, `refusals`: those of them
    that ClickHouse answered; the next try begins at `retry_at`. `reported`: offsets of its records that are dead
    letters. `paused`: too much waits. `hold`: why nothing more of it is inserted yet, and `stopped`: it is not read
    because of that. `released`: the partition was taken away.
    """

    number: int
    buffer: PartitionBuffer
    batch: InsertBatch | None = None
    insert: Future[InsertResult] | None = None
    inserted: int | None = None
    inserted_at: float = 0.0
    failures: int = 0
    refusals: int = 0
    retry_at: float = 0.0
    reported: set[int] = field(default_factory=set)
    paused: bool = False
    hold: Hold | None = None
    stopped: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def memory(self) -> int:
        """Bytes that wait to be inserted, and those of the file of an insert under way."""
        waiting = self.buffer.size + ROW_OVERHEAD * len(self.buffer.records)
        if self.batch is not None:
            waiting += self.batch.size + ROW_OVERHEAD * len(self.batch.records)
            waiting += self.batch.size + FILE_OVERHEAD * len(self.batch.records) if self.insert is not None else 0
        return waiting


class SinkCommits:
    """Commits of one topic's partitions. Used by the poll thread only.

    `cluster_id` is set before the first batch.
    """

    def __init__(self, consumer: Consumer, topic: str, status: SinkStatus) -> None:
        self.cluster_id = ""
        self._consumer = consumer
        self.topic = topic
        self._status = status

    def announce(self, batches: Sequence[tuple[SinkPartition, InsertBatch]]) -> bool:
        """Commit the range of each batch before it is inserted; this also acknowledges the batch before it.

        False when the group does not have the commits, as during a rebalance: then nothing may be inserted.
        """
        return self._commit(
            [batch.range.announcement(self.cluster_id, self.topic, partition.number) for partition, batch in batches]
        )

    def acknowledge(self, partitions: Sequence[SinkPartition]) -> None:
        """Commit that the last batch of each of these is inserted."""
        offsets = [
            TopicPartition(self.topic, each.number, each.inserted) for each in partitions if each.inserted is not None
        ]
        if self._commit(offsets):
            for partition in partitions:
                partition.inserted = None

    def _commit(self, offsets: list[TopicPartition]) -> bool:
        if not offsets:
            return True
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            self._status.failed("commit_failed", str(error))
            return False
        errors = [each.error for each in committed or [] if each.error is not None]
        if errors:
            self._status.failed("commit_failed", str(errors[0]))
        return not errors
