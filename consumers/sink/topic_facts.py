"""Asks Kafka what a sink must know of its topic and group before it reads partitions."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

TIMEOUT_S = 5.0

TopicId = Callable[[], str]
"""Kafka's id of the topic: the offsets of a topic that was deleted and made again start from 0 again. Raises
`KafkaException`."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """`commits` of partitions, and the `logs` of some: the first offset and the one after the last. `topic_id`
    distinguishes topics of one name, `cluster_id` clusters; empty where the broker does not tell."""

    topic_id: str
    cluster_id: str
    commits: dict[int, TopicPartition]
    logs: dict[int, tuple[int, int]]


def ask(consumer: Consumer, topic: str, numbers: Collection[int], topic_id: TopicId, *, logs: bool) -> TopicFacts:
    """Facts of these partitions. The log of one is asked for when its commit has metadata, or if `logs`. Blocks for a
    few seconds at most. Raises `KafkaException` when anything is not known: to go on from a guess would lose or double
    rows."""
    places = [TopicPartition(topic, number) for number in numbers]
    commits = consumer.committed(places, TIMEOUT_S) if places else []
    for each in commits:
        if each.error is not None:
            raise KafkaException(each.error)
    cluster_id = str(consumer.list_topics(topic, TIMEOUT_S).cluster_id or "")
    ranges = {
        each.partition: consumer.get_watermark_offsets(TopicPartition(topic, each.partition), TIMEOUT_S)
        for each in commits
        if logs or each.metadata
    }
    return TopicFacts(topic_id(), cluster_id, {each.partition: each for each in commits}, ranges)
