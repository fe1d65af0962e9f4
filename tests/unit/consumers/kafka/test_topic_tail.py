"""A topic tail returns records up to the end of its partitions and on, and survives errors that pass."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from millstream.consumers.kafka import topic_tail as module
from millstream.consumers.kafka.topic_tail import TopicTail
from tests.support.scripted_group import ScriptedMessage


class ScriptedConsumer:
    """Returns the messages one after the other, then nothing."""

    def __init__(self, *arriving: ScriptedMessage) -> None:
        self.arriving = list(arriving)
        self.assigned: list[tuple[str, int, int]] = []
        self.closed = False

    def list_topics(self, topic: str, timeout_s: float) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = [(each.topic, each.partition, each.offset) for each in partitions]

    def poll(self, timeout_s: float) -> ScriptedMessage | None:
        return self.arriving.pop(0) if self.arriving else None

    def close(self) -> None:
        self.closed = True


def end(topic: str, partition: int) -> ScriptedMessage:
    return ScriptedMessage(topic, partition, 1, None, KafkaError(KafkaError._PARTITION_EOF))


def test_records_are_returned_and_the_end_of_each_partition_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = ScriptedConsumer(ScriptedMessage("t", 0, 0, b"first"), end("t", 0), end("t", 1), end("other", 0))
    monkeypatch.setattr(module, "Consumer", lambda settings: consumer)
    partitions = [TopicPartition("t", 0, 5), TopicPartition("t", 1, 6), TopicPartition("other", 0, 7)]
    with TopicTail({}, partitions) as tail:
        assert consumer.assigned == [("t", 0, 5), ("t", 1, 6), ("other", 0, 7)]
        message = tail.read()
        assert message is not None and message.value() == b"first"
        assert tail.read() is None and not tail.reached_end("t")
        assert tail.read() is None and tail.reached_end("t") and not tail.reached_end("other")
        assert tail.read() is None and tail.reached_end("other")
        assert tail.read() is None
    assert consumer.closed


def test_an_error_is_logged_and_the_next_record_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ScriptedMessage("t", 0, 0, None, KafkaError(KafkaError._TRANSPORT, "a broker went away"))
    consumer = ScriptedConsumer(lost, ScriptedMessage("t", 0, 0, b"next"))
    monkeypatch.setattr(module, "Consumer", lambda settings: consumer)
    with capture_logs() as logs, TopicTail({}, [TopicPartition("t", 0, 0)]) as tail:
        assert tail.read() is None
        message = tail.read()
    assert message is not None and message.value() == b"next"
    assert [each["event"] for each in logs] == ["consumer_error"]
