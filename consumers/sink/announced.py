"""Which batches a sink's group has announced and not acknowledged: ranges that may be in ClickHouse in part."""

from confluent_kafka import Consumer, KafkaException, TopicPartition

from millstream.consumers.sink.intent import MisplacedIntent, read_intent
from millstream.schemas import KafkaConnection

TIMEOUT_S = 30.0


def announced_ranges(connection: KafkaConnection, group: str, topic: str) -> dict[int, range]:
    """The range of offsets of each partition that has one. Raises `KafkaException`, and `UnknownIntent`."""
    # A consumer without a subscription is no member.
    consumer = Consumer(connection.consumer(group))
    try:
        cluster = consumer.list_topics(topic, TIMEOUT_S)
        known = cluster.topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        found = {}
        for commit in consumer.committed([TopicPartition(topic, number) for number in known.partitions], TIMEOUT_S):
            if commit.error is not None:
                raise KafkaException(commit.error)
            try:
                intent = read_intent(commit, str(cluster.cluster_id or ""))
            except MisplacedIntent:
                continue
            if intent is not None:
                found[commit.partition] = range(intent.start, intent.first_end)
        return found
    finally:
        consumer.close()
