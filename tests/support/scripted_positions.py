"""Positions of partitions, without a broker."""

from collections.abc import Collection, Sequence
from typing import cast

from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka.handover_groups import SLOTS
from millstream.consumers.kafka.offset_ledger import METADATA_LIMIT
from millstream.consumers.kafka.positions import Answer, Known, Position, Positions
from tests.support.scripted_group import ScriptedConsumer
from tests.support.scripted_handover_groups import ScriptedHandoverGroups

CLUSTER = "cluster"


class ScriptedPositions:
    """Answers with the commits of a scripted consumer and what scripted groups announce.

    `ranges`: the first offset of a partition's log and the one after its last. `unknown`: for how many questions a
    partition is unknown.
    """

    def __init__(self, consumer: ScriptedConsumer, groups: ScriptedHandoverGroups) -> None:
        self._consumer = consumer
        self._groups = groups
        self.ranges: dict[tuple[str, int], tuple[int, int]] = {}
        self.unknown: dict[int, int] = {}
        self.metadata_limit = METADATA_LIMIT

    def ask(
        self, consumer: Consumer, partitions: Sequence[TopicPartition], logs_of: Collection[tuple[str, int]]
    ) -> Answer:
        return cast(Answer, _Answer(self, [(each.topic, each.partition) for each in partitions]))

    def as_positions(self) -> Positions:
        """Itself, as what the parts take."""
        return cast(Positions, self)

    def position(self, topic: str, partition: int) -> Position:
        """Where a partition was left."""
        commit = self._consumer.commits.get((topic, partition))
        log = self.ranges.get((topic, partition), (0, commit.offset + 1000 if commit else 0))
        announced = [self._groups.announced.get((topic, partition, slot)) for slot in range(SLOTS)]
        offset, metadata = (commit.offset, commit.metadata or "") if commit else (None, "")
        return Position(topic, partition, offset, metadata, log, CLUSTER, announced)


class _Answer:
    done = True

    def __init__(self, positions: ScriptedPositions, places: Sequence[tuple[str, int]]) -> None:
        self._positions = positions
        self._places = places

    def known(self, within_s: float) -> Known:
        positions, unknown = [], {}
        for topic, partition in self._places:
            if self._positions.unknown.get(partition, 0):
                self._positions.unknown[partition] -= 1
                unknown[topic, partition] = "the offsets are pending"
            else:
                positions.append(self._positions.position(topic, partition))
        return Known(positions, unknown)
