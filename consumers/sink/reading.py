"""Reads records into the buffers of the partitions, and stops reading while too much waits for ClickHouse."""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.changed_log import LOG_CHANGED
from millstream.consumers.sink.partitions import SinkPartition
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.status import SinkStatus

log = structlog.get_logger("millstream.sink")

POLL_S = 0.05
"""How long records are collected before what else there is has its turn."""

QUIET_POLL_S = 0.2
"""The longest wait for a record while there is nothing else to do."""

POLL_RECORDS = 10_000
PAUSE_AFTER_S = 1.0
"""How long nothing is read before partitions are paused. Pausing discards what was fetched ahead, and while inserts go
on there is soon room again."""

# Methods as functions, to be mapped over thousands of messages. The type stubs say that a message may lack partition
# and offset; those of a consumer have them.
PARTITION: Any = Message.partition
OFFSET: Any = Message.offset


class Reading:
    """The reading side of a sink. Used by the poll thread only. `partitions` is what the sink owns, by number.

    `on_log_changed` is called with the number of a partition, or None for all, that cannot be read where it was;
    `on_refused` with another error and its topic, and returns whether the error is told.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        partitions: Mapping[int, SinkPartition],
        status: SinkStatus,
        max_buffered_bytes: int,
        on_log_changed: Callable[[Consumer, int | None], None],
        on_refused: Callable[[KafkaError, str | None], bool] = lambda error, topic: False,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partitions = partitions
        self._status = status
        self._max_buffered_bytes = max_buffered_bytes
        self._on_log_changed = on_log_changed
        self._on_refused = on_refused
        self._full_since = math.inf

    def has_room(self) -> bool:
        """Whether to read now. When there was no room for a while, partitions are paused until half of it is free; a
        paused consumer returns no records, but it must be polled to stay in its group."""
        memory = sum(partition.memory for partition in self._partitions.values())
        now = time.monotonic()
        if memory < self._max_buffered_bytes / 2:
            self._full_since = math.inf
            self._pause(False)
            return True
        is_full = memory > self._max_buffered_bytes
        pauses = is_full or any(partition.paused for partition in self._partitions.values())
        if pauses and (announced := self._announced()) is not None:
            self._pause(True, announced)
            return True
        if not is_full:
            self._full_since = math.inf
            return True
        self._full_since = min(self._full_since, now)
        if now - self._full_since < PAUSE_AFTER_S:
            return False
        self._pause(True)
        return True

    def read(self, quiet_s: float = 0.0) -> None:
        """Move what has arrived into the buffers. Waits for the first record as long as there is nothing else to do,
        `quiet_s` seconds, but not longer than `QUIET_POLL_S`. Raises `KafkaException` after a fatal error."""
        messages: list[Message] = []
        if quiet_s > POLL_S:
            # It returns with the first record, the other call only with all records or after its time.
            first = self._consumer.poll(min(quiet_s, QUIET_POLL_S))
            if first is None:
                return
            messages.append(first)
        messages += self._consumer.consume(POLL_RECORDS, POLL_S)
        now = time.monotonic()
        errors: list[Message] = []
        if any(map(Message.error, messages)):
            errors = [message for message in messages if message.error()]
            messages = [message for message in messages if not message.error()]
        self._status.rows_read += len(messages)
        for number, run in itertools.groupby(messages, PARTITION):
            if number in self._partitions and self._partitions[number].hold is None:
                self._partitions[number].buffer.add(_columns(list(run)), now)
        for message in errors:
            self._handle(message)

    def follow_holds(self) -> None:
        """Stop to read partitions that are held. Those that no longer are read on from the start of their buffers."""
        for partition in self._partitions.values():
            if partition.stopped == (partition.hold is not None):
                continue
            place = TopicPartition(self._topic, partition.number, partition.buffer.start or 0)
            if partition.hold is not None:
                self._consumer.pause([place])
            else:
                try:
                    self._consumer.seek(place)
                except KafkaException as error:
                    self._status.failed("seek_failed", str(error), partition=partition.number)
                    continue
                if not partition.paused:
                    self._consumer.resume([place])
            partition.stopped = partition.hold is not None

    def _handle(self, message: Any) -> None:
        """An error in place of a record; the end of a partition is one too."""
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            partition = self._partitions.get(message.partition())
            if partition is not None and partition.hold is None:
                partition.buffer.reach(message.offset())
        elif error.fatal():
            raise KafkaException(error)
        elif error.code() in LOG_CHANGED and message.topic() == self._topic:
            number = message.partition()
            self._on_log_changed(self._consumer, number if number is not None and number >= 0 else None)
        elif not self._on_refused(error, message.topic()):
            self._status.failed("consumer_error", str(error))

    def _announced(self) -> SinkPartition | None:
        """The partition to read alone when no insert will make room because announced ranges have to be read to their
        ends: so at most one of them is read beyond the limit."""
        if any(partition.batch is not None for partition in self._partitions.values()):
            return None
        unread = [each for each in self._partitions.values() if each.buffer.missing > 0 and each.hold is None]
        return min(unread, key=lambda each: each.buffer.missing, default=None)

    def _pause(self, paused: bool, but: SinkPartition | None = None) -> None:
        self._switch(False, [each for each in self._partitions.values() if each is but or not paused])
        self._switch(True, [each for each in self._partitions.values() if each is not but and paused])

    def _switch(self, paused: bool, partitions: Sequence[SinkPartition]) -> None:
        changing = [each for each in partitions if each.paused != paused and not each.stopped]
        if not changing:
            return
        switch = self._consumer.pause if paused else self._consumer.resume
        switch([TopicPartition(self._topic, each.number) for each in changing])
        for partition in changing:
            partition.paused = paused
        log.debug("reading_paused" if paused else "reading_resumed", last_error=self._status.last_error)


def _columns(messages: Sequence[Message]) -> Records:
    return Records(list(map(OFFSET, messages)), list(map(Message.key, messages)), list(map(Message.value, messages)))
