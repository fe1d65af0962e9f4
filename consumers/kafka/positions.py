"""Where the partitions of a group were left, and what their logs hold now: everything that says where to start reading.

The partitions are told apart: while a transaction that commits offsets of one is open, that one is unknown and the
others are not.
"""

from collections.abc import Collection, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import cached_property

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from millstream.consumers.kafka.handover_groups import AnnouncementUnknown, HandoverGroups
from millstream.consumers.kafka.offset_ledger import METADATA_LIMIT
from millstream.consumers.kafka.offsets_reader import Key, OffsetsReader
from millstream.consumers.kafka.running_elsewhere import ANNOUNCED, RunningElsewhere
from millstream.schemas import KafkaConnection

log = structlog.get_logger(__name__)

ANSWER_WITHIN_S = 2.0
METADATA_SETTING = "offset.metadata.max.bytes"


@dataclass(frozen=True, slots=True)
class Position:
    """One partition. `committed`: the group's commit, None without one. `metadata`: its text. `log`: the first offset
    of the log and the one after its last; None where nothing depends on it. `announced`: what earlier owners run, by
    slot. `cluster_id`: the cluster that says so."""

    topic: str
    partition: int
    committed: int | None
    metadata: str
    log: tuple[int, int] | None
    cluster_id: str
    announced: Sequence[RunningElsewhere | None]


@dataclass(frozen=True, slots=True)
class Known:
    """The positions that are known, and for each other partition why it is not."""

    positions: Sequence[Position]
    unknown: dict[Key, str]


class Positions:
    """Asks for positions, on the threads of `reader`."""

    def __init__(self, connection: KafkaConnection, reader: OffsetsReader, groups: HandoverGroups) -> None:
        self._connection = connection
        self._reader = reader
        self._groups = groups

    def ask(self, consumer: Consumer, partitions: Sequence[TopicPartition], logs_of: Collection[Key] = ()) -> "Answer":
        """Start to ask for the positions of the consumer's group; returns at once. `logs_of`: partitions whose log must
        be known in any case."""
        places = [TopicPartition(each.topic, each.partition) for each in partitions]
        return Answer(places, self._reader.submit(lambda: self._known(consumer, places, logs_of)))

    @cached_property
    def metadata_limit(self) -> int:
        """The most bytes of metadata that the brokers accept with a commit. Blocks when first used, at most a few
        seconds; the default where the brokers do not tell."""
        try:
            admin = AdminClient(self._connection.client())
            node = next(iter(admin.list_topics(timeout=ANSWER_WITHIN_S).brokers))
            resource = ConfigResource(ResourceType.BROKER, str(node))
            (answer,) = admin.describe_configs([resource], request_timeout=ANSWER_WITHIN_S).values()
            limit = int(answer.result(ANSWER_WITHIN_S + 1)[METADATA_SETTING].value) - 1
        except (KafkaException, KeyError, StopIteration, TimeoutError) as error:
            log.info("broker_settings_unavailable", reason=str(error), metadata_limit=METADATA_LIMIT)
            return METADATA_LIMIT
        if limit < METADATA_LIMIT:
            log.warning(
                "commit_metadata_limit_low",
                setting=METADATA_SETTING,
                value=limit + 1,
                action=f"fewer jobs of a partition run at once; {METADATA_LIMIT + 1}, the default, is enough",
            )
        return min(limit, METADATA_LIMIT)

    def _known(self, consumer: Consumer, places: Sequence[TopicPartition], logs_of: Collection[Key]) -> Known:
        commits = self._reader.committed(consumer, places)
        positions, unknown = [], {}
        announced = self._announced(
            [each for each in places if _is_announced(commits.get((each.topic, each.partition)))]
        )
        for place in places:
            key = place.topic, place.partition
            commit = commits.get(key, "stopped")
            slots = announced.get(key, ())
            if isinstance(commit, str) or isinstance(slots, str):
                unknown[key] = commit if isinstance(commit, str) else str(slots)
                continue
            committed = commit.offset if commit.offset >= 0 else None
            metadata = commit.metadata or ""
            try:
                needed = committed is None or bool(metadata.removeprefix(ANNOUNCED)) or key in logs_of
                log_range = consumer.get_watermark_offsets(place, ANSWER_WITHIN_S) if needed else None
                cluster_id = self._reader.cluster_id(consumer, place.topic)
            except KafkaException as error:
                unknown[key] = error.args[0].str()
                continue
            positions.append(Position(*key, committed, metadata, log_range, cluster_id, slots))
        return Known(positions, unknown)

    def _announced(self, places: Sequence[TopicPartition]) -> "dict[Key, Sequence[RunningElsewhere | None] | str]":
        try:
            return dict(self._groups.read(places)) if places else {}
        except AnnouncementUnknown:
            pass
        found: dict[Key, Sequence[RunningElsewhere | None] | str] = {}
        for place in places:
            try:
                found |= self._groups.read([place])
            except AnnouncementUnknown as error:
                found[place.topic, place.partition] = str(error)
        return found


def _is_announced(commit: TopicPartition | str | None) -> bool:
    return isinstance(commit, TopicPartition) and (commit.metadata or "").startswith(ANNOUNCED)


class Answer:
    """An answer that is on its way."""

    def __init__(self, places: Sequence[TopicPartition], answer: "Future[Known]") -> None:
        self._places = places
        self._answer = answer

    @property
    def done(self) -> bool:
        """Whether `known` returns at once."""
        return self._answer.done()

    def known(self, within_s: float) -> Known:
        """What is known after at most `within_s` seconds."""
        wait([self._answer], within_s)
        reason = "not answered yet"
        if self._answer.done():
            try:
                return self._answer.result()
            except (KafkaException, RuntimeError) as error:
                # A RuntimeError: the consumer was closed meanwhile.
                reason = str(error)
        return Known([], {(each.topic, each.partition): reason for each in self._places})
