"""Asks Kafka what a sink must know of its topic and group before it reads partitions."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

TIMEOUT_S = 5.0


class TopicIdentity(NamedTuple):
    """Distinguishes topics of one name, and clusters; empty where the broker does not tell. The offsets of a topic that
    was deleted and made again start from 0 again."""

    topic_id: str
    cluster_id: str


AskIdentity = Callable[[], TopicIdentity]
"""Raises `KafkaException`. It asks with a client of its own, because facts are asked for in rebalance callbacks: a
consumer whose `list_topics` is called in its own callback ends the process at the next callback of the same poll, such
as that of its statistics (an assertion of confluent-kafka 2.16)."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """`commits` of partitions, and the `logs` of some: the first offset and the one after the last."""

    identity: TopicIdentity
    commits: dict[int, TopicPartition]
    logs: dict[int, tuple[int, int]]


def ask(consumer: Consumer, topic: str, numbers: Collection[int], identity: AskIdentity, *, logs: bool) -> TopicFacts:
    """Facts of these partitions. The log of one is asked for when its commit has metadata, or if `logs`. Blocks for a
    few seconds at most. Raises `KafkaException` when anything is not known: to go on from a guess would lose or double
    rows."""
    places = [TopicPartition(topic, number) for number in numbers]
    commits = consumer.committed(places, TIMEOUT_S) if places else []
    for each in commits:
        if each.error is not None:
            raise KafkaException(each.error)
    ranges = {
        each.partition: consumer.get_watermark_offsets(TopicPartition(topic, each.partition), TIMEOUT_S)
        for each in commits
        if logs or each.metadata
    }
    return TopicFacts(identity(), {each.partition: each for each in commits}, ranges)
