"""Which partitions a sink owns: from where it reads those that it is assigned, and how it gives them back.

A commit of [a, metadata "until b") says that the range [a, b) may or may not be in ClickHouse. Its new owner reads
exactly that range and inserts it again under the same token, before anything else of the partition.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import wait as wait_for

import structlog
from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka.committed_offsets import committed_offsets
from millstream.consumers.sink.batch import PartitionBuffer
from millstream.consumers.sink.insert_cycle import InsertCycle
from millstream.consumers.sink.intent import read_intent
from millstream.consumers.sink.partitions import SinkCommits, SinkPartition
from millstream.consumers.sink.status import SinkStatus

log = structlog.get_logger("millstream.sink")

COMMITTED_TIMEOUT_S = 10.0
RETRY_S = 0.5


class Ownership:
    """The rebalance callbacks of a sink. `partitions` is what it owns. Used by the poll thread only.

    `before_assign` is called before partitions are taken over, to read again what depends on the topic.
    """

    def __init__(
        self,
        topic: str,
        commits: SinkCommits,
        inserts: InsertCycle,
        status: SinkStatus,
        stop: threading.Event,
        revoke_grace_s: float,
        before_assign: Callable[[], None],
    ) -> None:
        self.partitions: dict[int, SinkPartition] = {}
        self._topic = topic
        self._commits = commits
        self._inserts = inserts
        self._status = status
        self._stop = stop
        self._revoke_grace_s = revoke_grace_s
        self._before_assign = before_assign

    def on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Start to read these from their commits. Raises `UnknownIntent`."""
        if assigned:
            self._before_assign()
        starts = []
        for committed in committed_offsets(consumer, assigned, self._keep_waiting, COMMITTED_TIMEOUT_S) or []:
            number, offset = committed.partition, committed.offset
            intent = read_intent(offset, committed.metadata)
            buffer = PartitionBuffer(offset if offset >= 0 else None, intent.end if intent else None)
            self.partitions[number] = SinkPartition(number, buffer)
            starts.append(TopicPartition(self._topic, number, offset))
            if intent is not None:
                self._status.repeated_batches += 1
                log.info("batch_repeated", partition=number, start=intent.start, end=intent.end)
        consumer.incremental_assign(starts)
        # librdkafka keeps a partition paused over revocation and reassignment.
        consumer.resume(starts)
        log.info("partitions_assigned", partitions=sorted(each.partition for each in assigned))

    def on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Let inserts under way finish for a moment, acknowledge what is inserted, and give the partitions back."""
        leaving = [self.partitions[each.partition] for each in revoked if each.partition in self.partitions]
        self.release(leaving)
        for partition in leaving:
            del self.partitions[partition.number]
        consumer.incremental_unassign(revoked)
        log.info("partitions_revoked", partitions=sorted(each.partition for each in revoked))

    def on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Another member may own these by now, so nothing is committed for them."""
        for each in lost:
            partition = self.partitions.pop(each.partition, None)
            if partition is not None:
                partition.released.set()
        consumer.incremental_unassign(lost)
        log.warning("partitions_lost", partitions=sorted(each.partition for each in lost))

    def release(self, partitions: Iterable[SinkPartition]) -> None:
        """Wait at most the grace period for inserts under way and acknowledge those that are in. The others stay
        announced, so the next owner repeats them."""
        leaving = list(partitions)
        wait_for([each.insert for each in leaving if each.insert is not None], self._revoke_grace_s)
        for partition in leaving:
            partition.released.set()
            if partition.insert is not None and partition.insert.done() and partition.insert.exception() is None:
                self._inserts.finish(partition, partition.insert.result())
        self._commits.acknowledge([each for each in leaving if each.insert is None])

    def _keep_waiting(self, reason: str) -> bool:
        self._status.failed("committed_offsets_unavailable", reason)
        self._stop.wait(RETRY_S)
        return not self._stop.is_set()
