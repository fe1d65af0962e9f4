"""Detects a stalled tracker: Kafka has events that it should have read by now, or it does not get ready.

Faust can be running and recovered and still read nothing. So a second client, which shares nothing with it, checks for
events after the last one that the tracker processed. It too reads only committed records, so a transaction marker or an
aborted event at the end of a partition is not mistaken for an unread event.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from millstream.schemas import KafkaConnection

CHECK_INTERVAL_S = 5.0
STALLED_CHECKS = 6
"""Checks in a row that may find the same event unread. Counted in checks, not seconds: a suspended process must not
look like a stalled consumer."""

NOT_READY_CHECKS = 24
"""Checks in a row that may find a tracker that is not ready and gets no nearer to it. More than above, because a
rebalance waits for the other trackers."""

RESPONSE_TIMEOUT_S = 3.0
"""How long the second client waits for Kafka's response, in seconds."""


class StallDetector:
    """Which offsets the tracker has processed, and which events stay unread. One event loop owns it."""

    def __init__(self, unread: Callable[[Mapping[int, int]], Mapping[int, int]]) -> None:
        """`unread` is `SecondReader.unread`; it is called on another thread."""
        self._unread = unread
        self._next: dict[int, int] = {}
        self._next_before: dict[int, int] = {}
        self._found: dict[int, tuple[int, int]] = {}

    def processed(self, messages: Iterable[Any]) -> None:
        """Note records that were read and whose table changes Kafka has acknowledged."""
        for message in messages:
            self._next[message.partition] = message.offset + 1

    async def check(self, owned: Iterable[int]) -> dict[int, int]:
        """Check the owned partitions once. Returns the offset of each event that has been unread for too long.

        A partition of which something was read since the last check is not stalled, nor one that Kafka gives no answer
        for.
        """
        quiet = {number for number in owned if self._next.get(number) == self._next_before.get(number)}
        self._next_before = dict(self._next)
        taken = {number: self._next.get(number, OFFSET_BEGINNING) for number in quiet}
        unread = await asyncio.to_thread(self._unread, taken) if taken else {}
        before, self._found = self._found, {}
        for number, offset in unread.items():
            offset_before, checks = before.get(number, (offset, 0))
            self._found[number] = (offset, checks + 1 if offset == offset_before else 1)
        return {number: offset for number, (offset, checks) in self._found.items() if checks >= STALLED_CHECKS}


class RecoveryWatch:
    """Whether the recovery of the states stands still."""

    def __init__(self, kafka_answers: Callable[[], bool]) -> None:
        """`kafka_answers` may block; it is called on another thread."""
        self._kafka_answers = kafka_answers
        self._progress: object = None
        self._checks = 0

    async def check(self, ready: bool, progress: object) -> bool:
        """Check once. Returns whether the tracker is not ready, and `progress` has been the same for too long although
        Kafka answers."""
        if ready or progress != self._progress:
            self._progress, self._checks = progress, 0
        elif await asyncio.to_thread(self._kafka_answers):
            self._checks += 1
        return self._checks >= NOT_READY_CHECKS


class SecondReader:
    """Reads a topic besides the tracker, without joining its group. Used by one thread at a time."""

    def __init__(self, connection: KafkaConnection, group: str, topic: str) -> None:
        self._connection = connection
        self._group = group
        self._topic = topic

    def unread(self, taken: Mapping[int, int]) -> dict[int, int]:
        """For each partition the offset of the first committed record at or after the one in `taken`, and not below the
        group's committed offset. Blocks up to `RESPONSE_TIMEOUT_S`; partitions without an answer are left out."""
        deadline = time.monotonic() + RESPONSE_TIMEOUT_S
        found: dict[int, int] = {}
        left = set(taken)
        try:
            asked = [TopicPartition(self._topic, number) for number in taken]
            # Another tracker may have read on since this one last owned the partition. The offset that means "nothing
            # committed" is the lowest of all.
            starts = [
                TopicPartition(self._topic, each.partition, max(each.offset, taken[each.partition]))
                for each in self._consumer.committed(asked, RESPONSE_TIMEOUT_S)
            ]
            self._consumer.assign(starts)
            while left and (left_s := deadline - time.monotonic()) > 0:
                message: Any = self._consumer.poll(left_s)
                if message is None or message.partition() not in left:
                    continue
                error = message.error()
                if error is None:
                    found[message.partition()] = message.offset()
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
            self._consumer.unassign()
        except KafkaException:
            # No answer from Kafka is no evidence about the tracker.
            return {}
        return found

    def kafka_answers(self) -> bool:
        """Whether the group's coordinator answers. Blocks up to `RESPONSE_TIMEOUT_S`."""
        try:
            answers = self._consumer.committed([TopicPartition(self._topic, 0)], RESPONSE_TIMEOUT_S)
        except KafkaException:
            return False
        return all(each.error is None for each in answers)

    @cached_property
    def _consumer(self) -> Consumer:
        return Consumer(self._connection.consumer(self._group, enable_partition_eof=True))
