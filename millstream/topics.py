"""Compares the broker's topics with the catalogue, creates missing ones and corrects settings."""

import time
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from millstream.schemas import KafkaConnection, Topic, TopicCatalogue

TIMEOUT_S = 30.0
REACH_WITHIN_S = 10.0
"""A broker that does not respond within this time counts as unreachable."""


@dataclass(frozen=True)
class TopicStatus:
    """A topic of the catalogue as the broker has it. `problems` is empty when it matches the catalogue."""

    topic: Topic
    status: Literal["ok", "missing", "differs"]
    problems: tuple[str, ...] = ()


def inspect_topics(connection: KafkaConnection, catalogue: TopicCatalogue) -> list[TopicStatus]:
    """Compare every topic of the catalogue with the broker's. Raises KafkaException when it cannot be reached."""
    admin = AdminClient(connection.client())
    existing = admin.list_topics(timeout=REACH_WITHIN_S).topics
    present = [topic for topic in catalogue if topic.name in existing]
    configs = _configs(admin, present)
    found = []
    for topic in catalogue:
        if topic.name not in existing:
            found.append(TopicStatus(topic, "missing", ("does not exist",)))
            continue
        partitions = len(existing[topic.name].partitions)
        problems = [] if partitions == topic.partitions else [f"{partitions} partitions, should be {topic.partitions}"]
        actual = configs[topic.name]
        problems += [
            f"{name}={actual[name]}, should be {wanted}"
            for name, wanted in topic.config.items()
            if name in actual and actual[name] != wanted
        ]
        found.append(TopicStatus(topic, "differs" if problems else "ok", tuple(problems)))
    return found


def apply_topics(connection: KafkaConnection, catalogue: TopicCatalogue, replication: int = -1) -> list[TopicStatus]:
    """Create missing topics and correct settings; returns the statuses from before. Safe to repeat. New topics have
    leaders when it returns.

    Partitions are only added: Kafka cannot remove one, so the status of a topic with too many stays "differs".
    """
    before = inspect_topics(connection, catalogue)
    admin = AdminClient(connection.client())
    missing = [each.topic for each in before if each.status == "missing"]
    if missing:
        wanted = [NewTopic(each.name, each.partitions, replication, config=each.config) for each in missing]
        for future in admin.create_topics(wanted, operation_timeout=TIMEOUT_S).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        _await_leaders(admin, {topic.name for topic in missing})
    for each in before:
        if each.status == "differs":
            _correct(admin, each)
    return before


def _await_leaders(admin: AdminClient, names: set[str]) -> None:
    """Wait until each of these new topics has partitions with leaders: a node of a cluster lists a topic without
    partitions until it has heard from the controller, and a client that asks it then has nothing to read."""
    deadline = time.monotonic() + TIMEOUT_S
    while names and time.monotonic() < deadline:
        known = admin.list_topics(timeout=REACH_WITHIN_S).topics
        ready = {
            name
            for name in names & set(known)
            if known[name].partitions and all(each.leader >= 0 for each in known[name].partitions.values())
        }
        names = names - ready
        if names:
            time.sleep(0.05)


def _correct(admin: AdminClient, status: TopicStatus) -> None:
    topic = status.topic
    now = len(admin.list_topics(topic.name, timeout=TIMEOUT_S).topics[topic.name].partitions)
    if now < topic.partitions:
        for future in admin.create_partitions([NewPartitions(topic.name, topic.partitions)]).values():
            future.result()
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in topic.config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


def _configs(admin: AdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in admin.describe_configs(resources).items()
    }
