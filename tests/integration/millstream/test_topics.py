"""`topics apply` on a real broker: what it sets, what it tells, and what it refuses."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from millstream.local.broker import ApacheKafka, Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics, inspect_topics


def millstream(
    broker: Broker, topics: TopicCatalogue, partitions: int, *command: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "millstream", *command],
        env={
            **os.environ,
            "MILLSTREAM_KAFKA__BOOTSTRAP": broker.bootstrap,
            "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
            "MILLSTREAM_TOPICS__PARTITIONS": str(partitions),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def _note(answers: list[Any], error: Any, _: Any) -> None:
    answers.append(error)


@pytest.mark.parametrize("hours_off", [-8 * 24, 2])
def test_retention_of_work_counts_from_the_brokers_clock_and_a_wrong_clock_of_a_host_stops_nothing(
    kafka: Broker, topics: TopicCatalogue, hours_off: int
) -> None:
    connection = KafkaConnection(kafka.bootstrap)
    for topic in (topics.lane("default"), topics.overflow("default"), topics.events, topics.dead):
        answers: list[Any] = []
        producer = Producer(connection.producer())
        at_ms = int((time.time() + hours_off * 3_600) * 1000)
        producer.produce(topic, b"", partition=0, timestamp=at_ms, on_delivery=partial(_note, answers))
        producer.flush(10)
        assert answers == [None]
        consumer = Consumer(connection.consumer("reader"))
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        message: Any = consumer.poll(10)
        kind, written_ms = message.timestamp()
        consumer.close()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert abs(written_ms - time.time() * 1000) < 600_000


def test_of_three_replicas_two_must_have_a_record_and_a_topic_with_fewer_replicas_is_told(
    kafka_cluster: ApacheKafka, topic_prefix: str
) -> None:
    connection, catalogue = KafkaConnection(kafka_cluster.bootstrap), TopicCatalogue(topic_prefix, partitions=1)
    admin = AdminClient(connection.client())
    admin.create_topics([NewTopic(catalogue.dead, 1, 1)])[catalogue.dead].result(30)
    found = {each.topic.name: each for each in apply_topics(connection, catalogue, 3)}
    few = found.pop(catalogue.dead)
    assert few.status == "differs" and "1 replicas, should be 3" in few.problems[0] and len(few.problems) == 1
    assert {(each.status, each.replicas) for each in found.values()} == {("ok", 3)}
    resource = ConfigResource(ResourceType.TOPIC, catalogue.lane("default"))
    config = admin.describe_configs([resource])[resource].result(10)
    assert config["min.insync.replicas"].value == "2"
    assert config["unclean.leader.election.enable"].value == "false"


def test_apply_adds_no_partitions_unless_it_is_told_to_and_says_so(kafka: Broker, topics: TopicCatalogue) -> None:
    refused = millstream(kafka, topics, 8, "topics", "apply", "--json")
    assert refused.returncode == 1 and "--grow" in refused.stderr
    statuses = {each["topic"]["name"]: each for each in json.loads(refused.stdout)}
    assert statuses[topics.events]["status"] == "differs" and statuses[topics.events]["partitions"] == 4
    assert statuses[topics.heartbeats]["status"] == "ok"
    odd = millstream(kafka, topics, 6, "topics", "apply", "--grow")
    assert odd.returncode == 2 and "such as 8" in odd.stderr
    assert {each.partitions for each in inspect_topics(KafkaConnection(kafka.bootstrap), topics)} == {1, 4}


def test_apply_prints_the_topics_as_they_are_after_it(kafka: Broker, topic_prefix: str) -> None:
    topics = TopicCatalogue(topic_prefix, partitions=2)
    made = millstream(kafka, topics, 2, "topics", "apply", "--json")
    assert made.returncode == 0, made.stderr
    assert {each["status"] for each in json.loads(made.stdout)} == {"ok"}
