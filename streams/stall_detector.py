"""Whether Kafka holds events that the tracker should have read by now.

Faust can be alive and recovered and still read nothing. So it is not asked: a second client, which shares nothing with
it, looks behind the last event that the tracker took. That client too sees only what is committed, so a transaction's
marker or an aborted event at the end of a partition is not taken for something to read.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from millstream.schemas import KafkaConnection

LOOK_EVERY_S = 5.0
PATIENCE = 6
"""Looks in a row that may find the same event unread. Looks are counted, not seconds: a process that was held up as a
whole has not been deaf."""

ANSWER_S = 3.0
"""How long the second client waits for Kafka's answer."""


class Hearing:
    """What the tracker has taken of each partition, and which event has stayed unread. One event loop owns it."""

    def __init__(self, unread: Callable[[Mapping[int, int]], Mapping[int, int]]) -> None:
        """`unread` is `SecondReader.unread`; it is called in a thread of its own."""
        self._unread = unread
        self._next: dict[int, int] = {}
        self._next_before: dict[int, int] = {}
        self._found: dict[int, tuple[int, int]] = {}

    def took(self, messages: Iterable[Any]) -> None:
        """Note records that were read and whose changes Kafka has."""
        for message in messages:
            self._next[message.partition] = message.offset + 1

    async def look(self, owned: Iterable[int]) -> dict[int, int]:
        """Look once at the owned partitions; returns the offset of each event that has stayed unread for too long.

        A partition of which something was read since the last look is well. So is one that Kafka says nothing about.
        """
        quiet = {number for number in owned if self._next.get(number) == self._next_before.get(number)}
        self._next_before = dict(self._next)
        taken = {number: self._next.get(number, OFFSET_BEGINNING) for number in quiet}
        unread = await asyncio.to_thread(self._unread, taken) if taken else {}
        before, self._found = self._found, {}
        for number, offset in unread.items():
            offset_before, looks = before.get(number, (offset, 0))
            self._found[number] = (offset, looks + 1 if offset == offset_before else 1)
        return {number: offset for number, (offset, looks) in self._found.items() if looks >= PATIENCE}


class SecondReader:
    """Reads a topic beside the tracker, without joining its group. One thread at a time may use it."""

    def __init__(self, connection: KafkaConnection, group: str, topic: str) -> None:
        self._connection = connection
        self._group = group
        self._topic = topic

    def unread(self, taken: Mapping[int, int]) -> dict[int, int]:
        """The first committed record of each partition that is at or behind the offset in `taken` and behind what the
        group has committed. Waits up to `ANSWER_S`, and leaves out what Kafka has not answered by then."""
        deadline = time.monotonic() + ANSWER_S
        found: dict[int, int] = {}
        left = set(taken)
        try:
            asked = [TopicPartition(self._topic, number) for number in taken]
            # Another tracker may have read on since this one last owned the partition. The offset that stands for "none
            # committed" is the lowest of all.
            starts = [
                TopicPartition(self._topic, each.partition, max(each.offset, taken[each.partition]))
                for each in self._consumer.committed(asked, ANSWER_S)
            ]
            self._consumer.assign(starts)
            while left and (patience := deadline - time.monotonic()) > 0:
                message: Any = self._consumer.poll(patience)
                if message is None or message.partition() not in left:
                    continue
                error = message.error()
                if error is None:
                    found[message.partition()] = message.offset()
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
            self._consumer.unassign()
        except KafkaException:
            # A Kafka that does not answer says nothing about the tracker.
            return {}
        return found

    @cached_property
    def _consumer(self) -> Consumer:
        return Consumer(self._connection.consumer(self._group, enable_partition_eof=True))
