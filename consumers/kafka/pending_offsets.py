"""Ends offsets of transactions that a broker has left pending.

When a broker ends in the middle of a transaction, the group's coordinator may keep the transaction's offsets as pending
although the transaction itself was aborted (Apache Kafka 4.3). The group's commits cannot be read from then on. An
aborted transaction of the same transactional id that holds offsets of the group ends them.
"""

from collections.abc import Mapping
from functools import cached_property

from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka.transaction import Commit
from millstream.schemas import KafkaConnection


class PendingOffsets:
    """Of consumer groups and a topic of each. Not thread-safe."""

    def __init__(self, connection: KafkaConnection, topics: Mapping[str, str]) -> None:
        self._connection = connection
        self._topics = topics

    @cached_property
    def commits(self) -> list[Commit]:
        """Commits for a transaction that is to be aborted, one of each group, as of no member of it."""
        return [
            Commit([TopicPartition(topic, 0, 0)], self._group_metadata(group)) for group, topic in self._topics.items()
        ]

    def _group_metadata(self, group: str) -> object:
        consumer = Consumer(self._connection.consumer(group))
        try:
            return consumer.consumer_group_metadata()
        finally:
            consumer.close()
