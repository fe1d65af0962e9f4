"""Committed offsets: asked for until they are known, or until the caller stops waiting."""

from typing import cast

from confluent_kafka import Consumer, TopicPartition

from millstream.consumers.kafka.committed_offsets import committed_offsets
from tests.support.scripted_group import ScriptedConsumer

PARTITIONS = [TopicPartition("t", 0), TopicPartition("t", 1)]


def test_commits_are_returned_once_they_can_be_read() -> None:
    consumer, reasons = ScriptedConsumer(), list[str]()
    consumer.unknown = 2
    consumer.commits["t", 1] = TopicPartition("t", 1, 7, "metadata")

    def keep_waiting(reason: str) -> bool:
        reasons.append(reason)
        return True

    found = committed_offsets(cast(Consumer, consumer), PARTITIONS, keep_waiting)
    assert found is not None
    assert [(each.partition, each.offset, each.metadata) for each in found] == [(0, -1001, None), (1, 7, "metadata")]
    assert len(reasons) == 2 and "pending" in reasons[0]


def test_nothing_is_returned_when_the_caller_stops_waiting() -> None:
    consumer = ScriptedConsumer()
    consumer.unknown = 100
    assert committed_offsets(cast(Consumer, consumer), PARTITIONS, lambda reason: False) is None


def test_no_partitions_need_no_answer() -> None:
    consumer = ScriptedConsumer()
    consumer.unknown = 100
    assert committed_offsets(cast(Consumer, consumer), [], lambda reason: False) == []
