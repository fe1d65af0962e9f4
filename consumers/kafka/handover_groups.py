"""Where a worker announces what it still runs of partitions that it gave back: consumer groups without members.

A commit of such a group is the announcement: it can be written in the same transaction as the outcome that changes it,
and the next owner of the partition, or the one after it, reads it under the partition's own key. There are `SLOTS` of
them, so that a partition may move again while jobs of an earlier owner still run.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from millstream.consumers.kafka.offsets_reader import OffsetsReader
from millstream.consumers.kafka.running_elsewhere import RunningElsewhere
from millstream.consumers.kafka.transaction import Commit
from millstream.schemas.topics import HANDOVER_GROUP

log = structlog.get_logger(__name__)

SLOTS = 2

Announced = Mapping[tuple[str, int], Sequence[RunningElsewhere | None]]
"""By topic and partition: what each slot holds."""


class AnnouncementUnknown(RuntimeError):
    """What is announced cannot be read now: a transaction that changes it is open, or the coordinator is away."""


class HandoverGroups:
    """Reads and prepares the commits of these groups. `prefix`: the prefix of the workers' consumer groups."""

    def __init__(self, reader: OffsetsReader, prefix: str) -> None:
        self._reader = reader
        self._prefix = prefix

    def commit(self, slot: int, announced: Sequence[RunningElsewhere]) -> Commit:
        """The commit that announces these in one slot."""
        offsets = [TopicPartition(each.topic, each.partition, each.start, each.text()) for each in announced]
        return Commit(offsets, self._reader.group(self._name(slot)).consumer_group_metadata())

    def ask(self, partitions: Sequence[TopicPartition]) -> "Future[Announced]":
        """Start to read what is announced for these partitions. The result raises `AnnouncementUnknown`."""
        return self._reader.submit(lambda: self.read(partitions))

    def read(self, partitions: Sequence[TopicPartition]) -> Announced:
        """What is announced for these partitions. Blocks. Raises `AnnouncementUnknown`."""
        places = [TopicPartition(each.topic, each.partition) for each in partitions]
        found: dict[tuple[str, int], list[RunningElsewhere | None]] = {}
        for slot in range(SLOTS):
            group = self._reader.group(self._name(slot))
            commits = self._reader.committed(group, places)
            for place in places:
                key = place.topic, place.partition
                commit = commits.get(key, "stopped")
                if isinstance(commit, str):
                    raise AnnouncementUnknown(commit)
                found.setdefault(key, []).append(self._parsed(commit, group))
        return found

    @property
    def names(self) -> list[str]:
        """The names of the groups."""
        return [self._name(slot) for slot in range(SLOTS)]

    def _name(self, slot: int) -> str:
        return f"{self._prefix}.{HANDOVER_GROUP}{slot}"

    def _parsed(self, commit: TopicPartition, group: Consumer) -> RunningElsewhere | None:
        if commit.offset < 0 or not commit.metadata:
            return None
        try:
            cluster_id = self._reader.cluster_id(group, commit.topic)
        except KafkaException as error:
            raise AnnouncementUnknown(error.args[0].str()) from error
        try:
            return RunningElsewhere.parse(commit.metadata, commit.topic, commit.partition, commit.offset, cluster_id)
        except ValueError as error:
            log.warning(
                "handover_ignored",
                topic=commit.topic,
                partition=commit.partition,
                reason=str(error),
                action="jobs that the previous owner runs may run again",
            )
            return None
