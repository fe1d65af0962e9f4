"""What Kafka says of the services that run now: workers' heartbeats, and how far groups have read.

Every function raises `KafkaException` when it cannot find out; for want of a right its text names the right.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess, headers_of
from millstream.schemas import Codec, DecodeError, Heartbeat, KafkaConnection, WorkerState
from millstream.schemas.denial import named
from millstream.topics import check_visible

Answer = TypeVar("Answer")

REACH_WITHIN_S = 5.0
ASK_AGAIN_S = 0.1
COORDINATOR_MOVES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
_WITHOUT_MEMBERS = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
MOST_HEARTBEATS = 200_000
LISTEN_S = 1.5
"""How long heartbeats are awaited once the topic is read to its end, where a worker seems to be gone: it sends one each
second, and the clock of this machine may be wrong."""

LOST_AFTER = 5
"""Heartbeats that a worker may miss before it counts as gone."""


@dataclass
class SeenWorker:
    """A worker that sent heartbeats: its last one, when the brokers received that, in seconds since 1970, and the
    processes that had its name. `heard`: it arrived while we listened."""

    last: Heartbeat
    received_at: float
    incarnations: set[str] = field(default_factory=set)
    heard: bool = False

    @property
    def ahead_s(self) -> float:
        """By how much the worker's clock is ahead of the brokers'."""
        return self.last.occurred_at.timestamp() - self.received_at

    def silent_s(self, now: float) -> float | None:
        """For how long it has been silent without having said that it stops; None if it is not."""
        age_s = now - self.received_at
        is_silent = not self.heard and self.last.state is not WorkerState.STOPPED
        return age_s if is_silent and age_s > LOST_AFTER * self.last.interval_s else None


def read_workers(connection: KafkaConnection, topic: str, codec: Codec, look_back_s: float) -> dict[str, SeenWorker]:
    """The workers that sent a heartbeat in the last `look_back_s` seconds, by their names."""
    consumer = Consumer(connection.quiet.consumer("millstream-doctor", enable_partition_eof=True))
    workers: dict[str, SeenWorker] = {}
    try:
        partition = TopicPartition(topic, 0, int((time.time() - look_back_s) * 1000))
        (start,) = consumer.offsets_for_times([partition], REACH_WITHIN_S)
        if start.error is not None:
            raise KafkaException(start.error)
        low, high = consumer.get_watermark_offsets(partition, REACH_WITHIN_S) or (0, 0)
        consumer.assign([start])
        deadline, at_end = time.monotonic() + REACH_WITHIN_S, False
        for _ in range(MOST_HEARTBEATS):
            message = consumer.poll(max(0.0, deadline - time.monotonic()))
            if message is None:
                break
            if (error := message.error()) is not None:
                if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    # The client asks for its group in any case; nothing here needs it.
                    continue
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if low == high or _is_complete(workers):
                    break
                if not at_end:
                    deadline, at_end = time.monotonic() + LISTEN_S, True
                continue
            try:
                heartbeat = codec.decode(message.value(), Heartbeat)
            except DecodeError:
                continue
            worker = workers.setdefault(heartbeat.worker_id, SeenWorker(heartbeat, 0.0))
            worker.last, worker.received_at, worker.heard = heartbeat, message.timestamp()[1] / 1000, at_end
            worker.incarnations.add(WorkerProcess.of(heartbeat.worker_id, headers_of(message)).incarnation)
    except KafkaException as error:
        raise named(error, connection.user, "Read", f"topic {topic}") from error
    finally:
        consumer.close()
    return workers


def _is_complete(workers: Mapping[str, SeenWorker]) -> bool:
    """Whether some worker runs, and none seems to be gone."""
    running = [each for each in workers.values() if each.last.state is not WorkerState.STOPPED]
    return bool(running) and all(each.silent_s(time.time()) is None for each in running)


@dataclass(frozen=True)
class GroupPosition:
    """How far a consumer group has read some topics: whether it has members, and the records after its commits,
    transaction markers included."""

    active: bool
    behind: int


def read_positions(connection: KafkaConnection, groups: Mapping[str, Sequence[str]]) -> dict[str, GroupPosition]:
    """The position of each group in its topics. A partition without a commit counts from its first record."""
    admin = AdminClient(connection.quiet.client())
    known = admin.list_topics(timeout=REACH_WITHIN_S).topics
    wanted = {topic for topics in groups.values() for topic in topics}
    check_visible(admin, connection.user, sorted(wanted - known.keys()))
    partitions = {
        group: [
            TopicPartition(topic, number) for topic in topics if topic in known for number in known[topic].partitions
        ]
        for group, topics in groups.items()
    }
    every = {(each.topic, each.partition): each for found in partitions.values() for each in found}
    first = _offsets(admin, every.values(), OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    end = _offsets(admin, every.values(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
    listed = admin.list_consumer_groups(request_timeout=REACH_WITHIN_S).result()
    active = {each.group_id for each in listed.valid if each.state not in _WITHOUT_MEMBERS}
    positions = {}
    for group, of_group in partitions.items():
        # The description finds no group of the protocol `consumer` (KIP-848), and the list none that may not be read.
        try:
            is_active = _once_coordinated(partial(_has_members, admin, group)) or group in active
            committed = _once_coordinated(partial(_committed, admin, group, of_group))
        except KafkaException as error:
            raise named(error, connection.user, "Describe", f"group {group}") from error
        behind = 0
        for each in of_group:
            key = (each.topic, each.partition)
            behind += max(0, end[key] - max(first[key], committed.get(key, 0)))
        positions[group] = GroupPosition(is_active, behind)
    return positions


def _once_coordinated(ask: Callable[[], Answer]) -> Answer:
    """The answer about a group. Its coordinator is being chosen for a moment after the cluster was made or a broker
    died."""
    deadline = time.monotonic() + REACH_WITHIN_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in COORDINATOR_MOVES or time.monotonic() > deadline:
                raise
            time.sleep(ASK_AGAIN_S)


def _has_members(admin: AdminClient, group: str) -> bool:
    described = admin.describe_consumer_groups([group], request_timeout=REACH_WITHIN_S)[group]
    try:
        return bool(described.result(REACH_WITHIN_S + 1).members)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return False
        raise


def _offsets(admin: AdminClient, partitions: Iterable[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    asked = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=REACH_WITHIN_S)
    return {(each.topic, each.partition): future.result().offset for each, future in asked.items()}


def _committed(admin: AdminClient, group: str, partitions: list[TopicPartition]) -> dict[tuple[str, int], int]:
    if not partitions:
        return {}
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group, partitions)], request_timeout=REACH_WITHIN_S
    )
    try:
        found = asked[group].result().topic_partitions or []
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise
    for each in found:
        if each.error is not None:
            raise KafkaException(each.error)
    return {(each.topic, each.partition): each.offset for each in found}
