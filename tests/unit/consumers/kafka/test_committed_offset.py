"""A group's commit of a partition: what it says, or why it is unknown."""

from typing import cast

from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka.committed_offset import committed_offset
from tests.support.scripted_group import ScriptedConsumer


def ask(consumer: ScriptedConsumer, partition: int) -> TopicPartition | str:
    return committed_offset(cast(Consumer, consumer), TopicPartition("t", partition), 1)


def test_a_commit_is_returned_with_its_metadata_once_it_can_be_read() -> None:
    consumer = ScriptedConsumer()
    consumer.unknown = 2
    consumer.commits["t", 1] = TopicPartition("t", 1, 7, "metadata")
    for _ in range(2):
        reason = ask(consumer, 1)
        assert isinstance(reason, str) and "pending" in reason
    found = ask(consumer, 1)
    assert isinstance(found, TopicPartition)
    assert (found.partition, found.offset, found.metadata) == (1, 7, "metadata")


def test_a_partition_without_a_commit_has_a_negative_offset() -> None:
    found = ask(ScriptedConsumer(), 0)
    assert isinstance(found, TopicPartition)
    assert (found.offset, found.metadata) == (-1001, None)
