"""Adds partitions to topics without breaking the order of ordering keys."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from millstream.producers.commands_topic import read_records, write_records
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.schemas.connection import METADATA_REFRESH_MS
from millstream.schemas.denial import named
from millstream.schemas.partition_growth import GROWTH_KEY, GrowthStep, PartitionGrowth

TIMEOUT_S = 30.0
ANNOUNCE_S = 2.0
"""How long running workers have to read that a lane grows, in seconds. They read it within one."""

SETTLE_S = METADATA_REFRESH_MS / 1000 + TIMEOUT_S + 5.0
"""How long after the new partitions were made the last record that was placed among the former ones arrives, in s:
a producer learns of new ones within ten, and by default delivers what it has placed within thirty."""


class GrowthRefused(ValueError):
    """Partitions that would break the order of ordering keys. Nothing was changed."""


@dataclass(frozen=True)
class Growth:
    """A topic to grow, from `before` to `after` partitions. `ordered`: its records may have ordering keys."""

    topic: str
    before: int
    after: int
    ordered: bool


def plan_growth(partitions: Mapping[str, int], catalogue: TopicCatalogue) -> list[Growth]:
    """The growth of every topic that has fewer partitions than in the catalogue; `partitions` is how many it has.

    Raises `GrowthRefused` when a lane, or the events with the tracker's states, would get a number that is no multiple:
    keys would then move between partitions that both have records.
    """
    lanes = {catalogue.lane(lane) for lane in catalogue.lanes}
    growth = [
        Growth(topic.name, partitions[topic.name], topic.partitions, topic.name in lanes)
        for topic in catalogue
        if 0 < partitions.get(topic.name, 0) < topic.partitions
    ]
    for each in growth:
        if each.after % each.before and (each.ordered or each.topic in (catalogue.events, catalogue.states)):
            multiple = (each.after // each.before + 1) * each.before
            raise GrowthRefused(
                f"{each.topic} has {each.before} partitions: with {each.after} keys would move between those; "
                f"set topics.partitions to a multiple, such as {multiple}"
            )
    return growth


class TopicGrowth:
    """Grows topics. `report` is called with a sentence before each step that takes a while."""

    def __init__(
        self,
        connection: KafkaConnection,
        catalogue: TopicCatalogue,
        report: Callable[[str], None] = lambda _: None,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._connection = connection
        self._topics = catalogue
        self._report = report
        self._settle_s = settle_s
        self._admin = AdminClient(connection.client())

    def grow(self, growth: Iterable[Growth]) -> None:
        """Add partitions, and let workers read those of a lane when the earlier jobs of their keys are done.

        Takes `settle_s` seconds when a lane grows. If it is interrupted, workers do not read the new partitions until
        it is run again. Raises KafkaException.
        """
        growth = list(growth)
        known = read_growth(self._connection, self._topics)
        ordered = [each for each in growth if each.ordered]
        for each in ordered:
            known[each.topic] = _announced(known.get(each.topic) or PartitionGrowth(topic=each.topic), each)
        if ordered:
            self._write([known[each.topic] for each in ordered])
            self._report("workers are told which partitions are new")
            time.sleep(ANNOUNCE_S)
        if growth:
            wanted = [NewPartitions(each.topic, each.after) for each in growth]
            for topic, future in self._admin.create_partitions(wanted, operation_timeout=TIMEOUT_S).items():
                try:
                    future.result()
                except KafkaException as error:
                    raise named(error, self._connection.user, "Alter", f"topic {topic}") from error
        self._finish([each for each in known.values() if each.unfinished])

    def _finish(self, unfinished: list[PartitionGrowth]) -> None:
        if not unfinished:
            return
        names = ", ".join(each.topic for each in unfinished)
        self._report(f"{names}: waiting {self._settle_s:g} s until every producer knows the new partitions")
        time.sleep(self._settle_s)
        self._write([self._with_ends(each) for each in unfinished])

    def _with_ends(self, growth: PartitionGrowth) -> PartitionGrowth:
        """Also for a step that was not finished before the next one: a later end is as good."""
        consumer = Consumer(self._connection.consumer("millstream-topic-growth"))
        try:
            ends = tuple(
                consumer.get_watermark_offsets(TopicPartition(growth.topic, number), TIMEOUT_S)[1]
                for number in range(growth.steps[-1].before)
            )
        finally:
            consumer.close()
        steps = tuple(
            step if step.ends is not None else step.model_copy(update={"ends": ends[: step.before]})
            for step in growth.steps
        )
        return growth.model_copy(update={"steps": steps})

    def _write(self, growth: list[PartitionGrowth]) -> None:
        records = {each.key: each.model_dump_json().encode() for each in growth}
        write_records(self._connection, self._topics, records)


def _announced(known: PartitionGrowth, growth: Growth) -> PartitionGrowth:
    """The record with one step more. A step whose partitions were never made is replaced."""
    steps = tuple(step for step in known.steps if step.after <= growth.before)
    return known.model_copy(update={"steps": (*steps, GrowthStep(before=growth.before, after=growth.after))})


def read_growth(connection: KafkaConnection, catalogue: TopicCatalogue) -> dict[str, PartitionGrowth]:
    """What is recorded of every topic that has grown; nothing while `jobs.commands` is missing. Raises
    KafkaException."""
    found: dict[str, PartitionGrowth] = {}
    try:
        for message in read_records(connection, catalogue):
            if (message.key() or b"").startswith(GROWTH_KEY) and (value := message.value()):
                growth = PartitionGrowth.model_validate_json(value)
                found[growth.topic] = growth
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
    return found
