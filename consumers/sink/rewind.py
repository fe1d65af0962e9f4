"""Sets a sink's group back, so that it reads records again.

The group's commits are the sink's only state, announced batches included. New commits without metadata make it start at
their offsets as if nothing had been inserted, so the tables must be empty before.
"""

from datetime import datetime

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from millstream.schemas import KafkaConnection
from millstream.schemas.denial import named

TIMEOUT_S = 30.0


class SinkRunning(RuntimeError):
    """The group has members, whose inserts meanwhile would be duplicated."""


def offsets_at(connection: KafkaConnection, topic: str, moment: datetime | None) -> dict[int, int]:
    """For each partition the offset of the first record at or after `moment`, by the record's timestamp; the end where
    there is none; the oldest record when `moment` is None. Raises `KafkaException`."""
    consumer = Consumer(connection.consumer("rewind"))
    try:
        known = consumer.list_topics(topic, TIMEOUT_S).topics[topic]
        if known.error is not None:
            raise named(KafkaException(known.error), connection.user, "Read", f"topic {topic}")
        found = {}
        for number in known.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT_S)
            found[number] = low
            if moment is not None:
                at = TopicPartition(topic, number, int(moment.timestamp() * 1000))
                offset = consumer.offsets_for_times([at], TIMEOUT_S)[0].offset
                found[number] = offset if offset >= 0 else high
        return found
    finally:
        consumer.close()


def read_again(connection: KafkaConnection, topic: str, firsts: dict[int, int]) -> dict[int, range]:
    """The offsets of each partition that a sink would read from these on. Raises `KafkaException`."""
    consumer = Consumer(connection.consumer("rewind"))
    try:
        found = {}
        for number, first in firsts.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT_S)
            found[number] = range(first, end)
        return found
    finally:
        consumer.close()


def check_stopped(connection: KafkaConnection, group: str) -> None:
    """Raises `SinkRunning` while the group has members; a killed member stays one for its session timeout. Raises
    `KafkaException`."""
    admin = AdminClient(connection.client())
    try:
        described = admin.describe_consumer_groups([group])[group].result(TIMEOUT_S)
    except KafkaException as error:
        raise named(error, connection.user, "Read", f"group {group}") from error
    if described.state not in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
        raise SinkRunning(f"the group {group} has {len(described.members)} members")


def rewind(connection: KafkaConnection, group: str, topic: str, offsets: dict[int, int]) -> None:
    """Make the group start at these offsets. Raises `KafkaException`; Kafka rejects this while the group has
    members."""
    positions = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
    # A consumer without a subscription is no member, and may commit for a group without members.
    consumer = Consumer(connection.consumer(group))
    try:
        for each in consumer.commit(offsets=positions, asynchronous=False):
            if each.error is not None:
                raise KafkaException(each.error)
    finally:
        consumer.close()
