"""Reads what consumer groups have committed, on threads of its own, so that the poll thread never waits for it.

It uses consumers and not an admin client: librdkafka's admin requests to a group's coordinator can end the process when
that coordinator goes away while they wait (an assertion on the reference count of the request).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from millstream.consumers.kafka.committed_offset import committed_offset
from millstream.consumers.threads import ThreadPool
from millstream.schemas import KafkaConnection

THREADS = 4
TOGETHER_WITHIN_S = 1.0
ALONE_WITHIN_S = 0.5
CLUSTER_WITHIN_S = 2.0
CLOSE_WITHIN_S = 5.0

T = TypeVar("T")
Key = tuple[str, int]
Commits = Mapping[Key, TopicPartition | str]
"""By topic and partition: the commit (its offset is negative without one), or why it is unknown."""


class OffsetsReader:
    """Reads commits of groups with members, through a member's consumer, and of groups without, through its own.
    `submit` may be called by one thread; the other methods by the functions that it runs."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._threads = ThreadPool(THREADS, "millstream-offsets")
        self._lock = threading.Lock()
        self._own: dict[str, Consumer] = {}
        self._running = 0
        self._idle = threading.Condition(self._lock)
        self._closed = threading.Event()
        self._cluster_id: str | None = None

    def submit(self, read: Callable[[], T]) -> "Future[T]":
        """Run `read` on another thread; returns at once."""

        def counted() -> T:
            try:
                return read()
            finally:
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()

        with self._lock:
            self._running += 1
        return self._threads.call(counted)

    def group(self, name: str) -> Consumer:
        """A consumer that can read the commits of a group, and is no member of it."""
        with self._lock:
            if name not in self._own:
                self._own[name] = Consumer(self._connection.consumer(name))
            return self._own[name]

    def committed(self, consumer: Consumer, places: Sequence[TopicPartition]) -> Commits:
        """The commits of the consumer's group. Blocks. While a transaction that commits one of the partitions is open,
        that one is unknown."""
        if not places or self._closed.is_set():
            return {}
        try:
            return {_key(each): each for each in consumer.committed(list(places), TOGETHER_WITHIN_S)}
        except KafkaException as error:
            if len(places) == 1:
                return {_key(places[0]): error.args[0].str()}
        return {_key(place): self._alone(consumer, place) for place in places}

    def cluster_id(self, consumer: Consumer, topic: str) -> str:
        """The cluster's id; empty where the brokers do not tell it. Blocks when first used. Raises KafkaException."""
        if self._cluster_id is None:
            # Of one topic, because the answer holds all that it is asked about.
            self._cluster_id = str(consumer.list_topics(topic, CLUSTER_WITHIN_S).cluster_id or "")
        return self._cluster_id

    def close(self) -> None:
        """Ask for nothing more, leave the rest unanswered, and wait until no consumer is in use, so that the members'
        can be closed."""
        self._closed.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._running, CLOSE_WITHIN_S)
            own, self._own = self._own, {}
        self._threads.stop()
        for consumer in own.values():
            consumer.close()

    def _alone(self, consumer: Consumer, place: TopicPartition) -> TopicPartition | str:
        return "stopped" if self._closed.is_set() else committed_offset(consumer, place, ALONE_WITHIN_S)


def _key(place: TopicPartition) -> Key:
    return place.topic, place.partition
