"""Reads assigned partitions up to their end, and on."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.denied_rights import DeniedRights

log = structlog.get_logger(__name__)

POLL_S = 0.25
METADATA_WITHIN_S = 2.0


class TopicTail:
    """A consumer that is assigned `partitions` with their start offsets, so it is no member of a group.

    `settings`: of the consumer, as `KafkaConnection.consumer` makes them. `since_ms`: topics that are read from a
    moment on, in milliseconds since 1970, where that is before their start offset. `denied` is told of topics that must
    not be read. Use it in a `with` block; not thread-safe.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        partitions: Sequence[TopicPartition],
        since_ms: Mapping[str, int] | None = None,
        denied: DeniedRights | None = None,
    ) -> None:
        self._partitions = list(partitions)
        self._since_ms = since_ms or {}
        self._denied = denied
        self._ended: set[tuple[str, int]] = set()
        self._consumer = Consumer({**settings, "enable.partition.eof": True})

    def __enter__(self) -> Self:
        """Raises `KafkaException` when the partitions cannot be assigned."""
        # librdkafka looks for leaders every half second: it must know them when the partitions are assigned.
        for topic in {each.topic for each in self._partitions}:
            with suppress(KafkaException):
                self._consumer.list_topics(topic, METADATA_WITHIN_S)
        self._consumer.assign([self._start(each) for each in self._partitions])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def _start(self, partition: TopicPartition) -> TopicPartition:
        since_ms = self._since_ms.get(partition.topic)
        if since_ms is not None:
            moment = TopicPartition(partition.topic, partition.partition, since_ms)
            with suppress(KafkaException):
                (found,) = self._consumer.offsets_for_times([moment], METADATA_WITHIN_S)
                if found.error is None and found.offset >= 0:
                    return TopicPartition(partition.topic, partition.partition, found.offset)
        return partition

    def read(self, timeout_s: float = POLL_S) -> Message | None:
        """The next record; None after `timeout_s` seconds, at the end of a partition, and after an error, which is
        logged."""
        message = self._consumer.poll(timeout_s)
        if message is None:
            return None
        error = message.error()
        if error is None:
            return message
        if error.code() == KafkaError._PARTITION_EOF:
            topic, partition = message.topic(), message.partition()
            assert topic is not None and partition is not None
            self._ended.add((topic, partition))
        elif self._denied is None or not self._denied.note(error, message.topic(), group=""):
            log.warning("consumer_error", reason=error.str())
        return None

    def reached_end(self, topic: str) -> bool:
        """Whether every partition of the topic has been read to its end once."""
        return all((each.topic, each.partition) in self._ended for each in self._partitions if each.topic == topic)
