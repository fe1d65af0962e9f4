"""Compares the broker's topics with the catalogue, creates missing ones, corrects settings, and announces the schemas
of this release."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from millstream.announced_schemas import announce_schemas
from millstream.schemas import KafkaConnection, Topic, TopicCatalogue
from millstream.schemas.denial import DENIED, named

TIMEOUT_S = 30.0
REACH_WITHIN_S = 10.0
"""A broker that does not respond within this time counts as unreachable."""

_MIN_INSYNC = "min.insync.replicas"


@dataclass(frozen=True)
class TopicStatus:
    """A topic of the catalogue as the broker has it. `problems` is empty when it matches the catalogue. `partitions`
    and `replicas` are those it has, 0 when it is missing."""

    topic: Topic
    status: Literal["ok", "missing", "differs"]
    problems: tuple[str, ...] = ()
    partitions: int = 0
    replicas: int = 0

    @property
    def must_grow(self) -> bool:
        """Whether it exists with fewer partitions than the catalogue has."""
        return 0 < self.partitions < self.topic.partitions


def inspect_topics(connection: KafkaConnection, catalogue: TopicCatalogue, replication: int = -1) -> list[TopicStatus]:
    """Compare every topic of the catalogue with the broker's; `replication` is the wanted number of replicas, -1 for
    any. Raises KafkaException when the broker cannot be reached, and for want of rights."""
    return _inspect(AdminClient(connection.client()), connection.user, catalogue, replication)[0]


def apply_topics(connection: KafkaConnection, catalogue: TopicCatalogue, replication: int = -1) -> list[TopicStatus]:
    """Create missing topics, correct settings and announce the schemas of this release; returns the statuses after
    that. Safe to repeat. New topics have leaders when it returns.

    Partitions are not added, because keys would change their partition: `grow_topics` does that. Kafka cannot remove a
    partition, and only moves replicas by a reassignment. A topic that needs one of these stays "differs".
    """
    admin = AdminClient(connection.client())
    missing = [each.topic for each in inspect_topics(connection, catalogue) if each.status == "missing"]
    if missing:
        wanted = [NewTopic(each.name, each.partitions, replication, config=each.config) for each in missing]
        for name, future in admin.create_topics(wanted, operation_timeout=TIMEOUT_S).items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise named(error, connection.user, "Create", f"topic {name}") from error
        _await_leaders(admin, {topic.name for topic in missing})
    corrected: dict[str, dict[str, str]] = {}
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        # Only now the replicas of new topics are known, which may be the broker's default. The broker that responds may
        # not have heard from the controller, and may be another one each time.
        statuses, wrong = _inspect(admin, connection.user, catalogue, replication)
        for name, settings in wrong.items():
            if corrected.get(name) != settings:
                _correct(admin, connection.user, name, settings)
                corrected[name] = settings
        if not (wrong or any(each.status == "missing" for each in statuses)) or time.monotonic() > deadline:
            announce_schemas(connection, catalogue)
            return statuses
        time.sleep(0.05)


def wrong_settings(topic: Topic, replicas: int, actual: Mapping[str, str | None]) -> dict[str, str]:
    """The settings to correct and their right values, of a topic with so many replicas and these settings. A setting
    that the broker does not have cannot be wrong, and more replicas in sync than needed are an operator's choice."""
    wrong = {name: wanted for name, wanted in topic.config.items() if name in actual and actual[name] != wanted}
    least = topic.min_insync_replicas(replicas)
    if int(actual.get(_MIN_INSYNC) or least) < least:
        wrong[_MIN_INSYNC] = str(least)
    return wrong


def _inspect(
    admin: AdminClient, user: str, catalogue: TopicCatalogue, replication: int
) -> tuple[list[TopicStatus], dict[str, dict[str, str]]]:
    """The status of every topic, and by topic the settings to correct with their right values."""
    existing = admin.list_topics(timeout=REACH_WITHIN_S).topics
    configs = _configs(admin, user, [topic for topic in catalogue if topic.name in existing])
    check_visible(admin, user, [topic.name for topic in catalogue if topic.name not in existing])
    statuses: list[TopicStatus] = []
    wrong: dict[str, dict[str, str]] = {}
    for topic in catalogue:
        if topic.name not in configs:
            statuses.append(TopicStatus(topic, "missing", ("does not exist",)))
            continue
        actual, partitions = configs[topic.name], existing[topic.name].partitions
        replicas = min((len(each.replicas) for each in partitions.values()), default=0)
        if settings := wrong_settings(topic, replicas, actual):
            wrong[topic.name] = settings
        problems = _problems(topic, len(partitions), replicas, replication)
        problems += [f"{name}={actual[name]}, should be {wanted}" for name, wanted in settings.items()]
        status: Literal["ok", "differs"] = "differs" if problems else "ok"
        statuses.append(TopicStatus(topic, status, tuple(problems), len(partitions), replicas))
    return statuses, wrong


def _problems(topic: Topic, partitions: int, replicas: int, replication: int) -> list[str]:
    problems = []
    if partitions != topic.partitions:
        problems.append(f"{partitions} partitions, should be {topic.partitions}")
    if replication > 0 and replicas != replication:
        problems.append(f"{replicas} replicas, should be {replication} (kafka-reassign-partitions.sh moves them)")
    return problems


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


def check_visible(admin: AdminClient, user: str, missing: Sequence[str]) -> None:
    """Raises `KafkaException` when one of these exists or not for all that the user may know."""
    if not missing:
        return
    for name, answer in admin.describe_topics(TopicCollection(list(missing)), request_timeout=REACH_WITHIN_S).items():
        try:
            answer.result(REACH_WITHIN_S + 1)
        except KafkaException as error:
            if error.args[0].code() in DENIED:
                raise named(error, user, "Describe", f"topic {name}") from error
        except TimeoutError:
            return


def _correct(admin: AdminClient, user: str, topic: str, settings: Mapping[str, str]) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        try:
            future.result()
        except KafkaException as error:
            raise named(error, user, "AlterConfigs", f"topic {topic}") from error


def _configs(admin: AdminClient, user: str, topics: list[Topic]) -> dict[str, dict[str, str | None]]:
    """The settings of topics, without those that the broker that responds does not know."""
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    configs: dict[str, dict[str, str | None]] = {}
    for resource, future in admin.describe_configs(resources).items():
        try:
            configs[resource.name] = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise named(error, user, "DescribeConfigs", f"topic {resource.name}") from error
    return configs
