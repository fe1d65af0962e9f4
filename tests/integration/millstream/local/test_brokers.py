"""The brokers that `up` and the tests start: killed, restarted, chosen, and never left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from millstream.local.broker import ApacheKafka, Broker, BrokerUnavailable, Tansu, choose_broker
from millstream.local.broker.apache import missing_for_apache
from millstream.schemas import KafkaConnection

METADATA = "m1r:" + "x" * 4000


def create_topic(bootstrap: str, name: str, replicas: int = 1) -> None:
    topic = NewTopic(name, 2, replicas)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([topic])[name].result(30)


def write(bootstrap: str, topic: str, count: int) -> None:
    producer = Producer(KafkaConnection(bootstrap).producer(delivery_timeout_ms=60_000))
    failed: list[object] = []

    def note(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(error)

    for number in range(count):
        producer.produce(topic, str(number).encode(), str(number).encode(), on_delivery=note)
    assert producer.flush(60) == 0
    assert failed == []


def read(bootstrap: str, topic: str, count: int) -> set[bytes | None]:
    consumer = Consumer(KafkaConnection(bootstrap).consumer("reader"))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(2)])
    found: set[bytes | None] = set()
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        found |= {message.value() for message in consumer.consume(1000, 0.5) if not message.error()}
    consumer.close()
    return found


def test_records_keys_and_transactions_work_on_each_broker(any_broker: Broker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}plain"
    create_topic(any_broker.bootstrap, topic)
    write(any_broker.bootstrap, topic, 100)
    assert len(read(any_broker.bootstrap, topic, 100)) == 100


def test_commit_metadata_is_kept_by_apache_in_transactions_up_to_its_limit(kafka: Broker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}plain"
    create_topic(kafka.bootstrap, topic)
    write(kafka.bootstrap, topic, 10)
    consumer = Consumer(KafkaConnection(kafka.bootstrap).consumer(f"{topic_prefix}group"))
    consumer.subscribe([topic])
    while not consumer.assignment():
        consumer.poll(0.2)
    producer = Producer(KafkaConnection(kafka.bootstrap).producer(transactional_id=f"{topic_prefix}writer"))
    producer.init_transactions(30)
    producer.begin_transaction()
    offset = TopicPartition(topic, 0, 3, METADATA)
    producer.send_offsets_to_transaction([offset], consumer.consumer_group_metadata(), 30)
    producer.commit_transaction(30)
    (kept,) = consumer.committed([TopicPartition(topic, 0)], 30)
    consumer.close()
    assert (kept.offset, kept.metadata) == (3, METADATA)


def test_a_cluster_works_without_one_node_and_accepts_it_again(kafka_cluster: ApacheKafka, topic_prefix: str) -> None:
    topic = f"{topic_prefix}replicated"
    create_topic(kafka_cluster.bootstrap, topic, replicas=3)
    write(kafka_cluster.bootstrap, topic, 200)
    node = kafka_cluster.node(2)
    node.kill()
    assert not node.is_alive()
    try:
        write(kafka_cluster.bootstrap, f"{topic}", 400)
        assert len(read(kafka_cluster.bootstrap, topic, 400)) == 400
    finally:
        node.start()
    assert node.is_alive()


def test_a_restarted_broker_has_its_data_and_its_port(tmp_path: Path) -> None:
    if reason := missing_for_apache():
        pytest.skip(f"needs Apache Kafka: {reason}")
    broker = ApacheKafka(tmp_path)
    broker.start()
    create_topic(broker.bootstrap, "kept")
    write(broker.bootstrap, "kept", 50)
    broker.stop()
    again = ApacheKafka(tmp_path)
    again.start()
    try:
        assert again.bootstrap == broker.bootstrap
        assert len(read(again.bootstrap, "kept", 50)) == 50
        again.node(1).kill()
        again.node(1).start()
        assert len(read(again.bootstrap, "kept", 50)) == 50
    finally:
        again.stop()


@pytest.mark.parametrize("kind", ["apache", "tansu"])
def test_no_broker_outlives_a_parent_that_is_killed(tmp_path: Path, kind: str) -> None:
    if kind == "apache" and (reason := missing_for_apache()):
        pytest.skip(f"needs Apache Kafka: {reason}")
    script = (
        "import sys, time; from pathlib import Path; from millstream.local.broker import choose_broker\n"
        f"broker = choose_broker('{kind}', Path(sys.argv[1])); broker.start(); print('up', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout and parent.stdout.readline() == "up\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_auto_takes_apache_where_it_can_run_and_tansu_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    chosen = choose_broker("auto", tmp_path, say=said.append)
    assert isinstance(chosen, Tansu if missing_for_apache() else ApacheKafka)
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = choose_broker("auto", tmp_path, say=said.append)
    assert isinstance(chosen, Tansu)
    assert any("java and mvn not on the PATH" in line for line in said)
    assert any("memory" in limit for limit in chosen.limits)


def test_a_java_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2"), ("mvn", "true")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert "11.0.2" in missing_for_apache()
    with pytest.raises(BrokerUnavailable, match="Java 17"):
        choose_broker("apache", tmp_path)


def test_an_address_is_taken_as_it_is(tmp_path: Path) -> None:
    broker = choose_broker("kafka-1:9092,kafka-2:9092", tmp_path)
    assert (broker.kind, broker.bootstrap) == ("address", "kafka-1:9092,kafka-2:9092")


@pytest.mark.parametrize(
    ("choice", "nodes", "said"), [("rabbit", 1, "neither auto"), ("auto", 2, "1 or 3"), ("tansu", 3, "one node")]
)
def test_what_cannot_be_is_refused_with_the_way_out(tmp_path: Path, choice: str, nodes: int, said: str) -> None:
    with pytest.raises(BrokerUnavailable, match=said):
        choose_broker(choice, tmp_path, nodes)
