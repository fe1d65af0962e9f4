"""A schema id that is not known is a newer release's only if a release has announced it on `jobs.commands`."""

import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from millstream import announced_schemas
from millstream.announced_schemas import AnnouncedSchemas, announce_schemas
from millstream.consumers.sink import Sink, SinkConfig
from millstream.local.broker import Broker
from millstream.producers.commands_topic import write_records
from millstream.schemas import Codec, DeadLetter, KafkaConnection, PinnedRegistry, RegistryUnavailable, TopicCatalogue
from millstream.schemas.codec import HEADER
from millstream.schemas.registry import ANNOUNCEMENT_KEY, pinned_schemas
from millstream.topics import apply_topics
from tests.support.brokers import one_node
from tests.support.eventlog import TopicReader
from tests.support.running_sink import running
from tests.support.waiting import eventually

KNOWN = max(pinned_schemas())


@pytest.fixture
def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap)


def announce(connection: KafkaConnection, topics: TopicCatalogue, key: bytes, value: bytes | None = b"") -> None:
    write_records(connection, topics, {ANNOUNCEMENT_KEY + key: value})


def newest(announced: AnnouncedSchemas) -> int:
    """The newest announced id; 0 while the topic has not been read."""
    with suppress(RegistryUnavailable):
        return announced.newest()
    return 0


def test_the_newest_announced_id_counts_whoever_announced_last(
    connection: KafkaConnection, topics: TopicCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = AnnouncedSchemas(connection, topics)
    assert eventually(lambda: newest(announced), bool) == KNOWN, "`topics apply` announces those of its release"
    announce(connection, topics, b"31")
    announce_schemas(connection, topics)
    for garbage in (b"", b"x", b"-7", b"1e9", "\u0663".encode()):
        announce(connection, topics, garbage)
    eventually(lambda: newest(announced), lambda found: found == 31)
    monkeypatch.setattr(announced_schemas, "IDLE_S", 0.0)
    eventually(threads, lambda count: count == 0)
    monkeypatch.undo()
    announce(connection, topics, b"32")
    eventually(lambda: newest(announced), lambda found: found == 32)


def threads() -> int:
    return sum(each.name == "millstream-announced-schemas" for each in threading.enumerate())


def test_while_the_announcements_cannot_be_read_nothing_is_taken_for_garbage_and_only_the_first_question_waits(
    connection: KafkaConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = AnnouncedSchemas(connection, TopicCatalogue("no-such-prefix."))
    with pytest.raises(RegistryUnavailable, match="no-such-prefix"):
        announced.newest()
    monkeypatch.setattr(announced_schemas, "FIRST_ANSWER_WITHIN_S", 3600.0)
    with pytest.raises(RegistryUnavailable, match="no-such-prefix"):
        announced.newest()


def test_announcements_that_no_broker_confirms_any_more_decide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announced_schemas, "BELIEVED_S", 0.0)
    monkeypatch.setattr(announced_schemas, "METADATA_WITHIN_S", 1.0)
    topics = TopicCatalogue(partitions=1)
    with contextmanager(one_node)(tmp_path) as broker:
        connection = KafkaConnection(broker.bootstrap)
        apply_topics(connection, topics)
        announced = AnnouncedSchemas(connection, topics)
        eventually(lambda: newest(announced), lambda found: found == KNOWN)
    eventually(lambda: newest(announced), lambda found: found == 0)


def test_a_made_up_schema_id_is_a_dead_letter_and_holds_no_partition_up_and_an_announced_one_waits(
    connection: KafkaConnection, topics: TopicCatalogue, clickhouse: Client, tmp_path: Path
) -> None:
    announced = AnnouncedSchemas(connection, topics)
    codec = Codec(PinnedRegistry(announced.newest))
    producer = Producer(connection.producer())

    def send(schema_id: int) -> None:
        producer.produce(topics.events, HEADER.pack(0, schema_id) + b"body", partition=0)
        producer.flush()

    with running(Sink(connection, topics, clickhouse, codec, SinkConfig(group=topics.prefix))) as sink:
        send(KNOWN + 1)
        eventually(lambda: sink.status.dead_records, lambda count: count == 1)
        announce(connection, topics, str(KNOWN + 2).encode())
        eventually(lambda: newest(announced), lambda found: found == KNOWN + 2)
        send(KNOWN + 2)
        eventually(lambda: sink.status.held.get(0, ""), lambda cause: "a newer release wrote" in cause)
        assert sink.status.dead_records == 1
    letters = TopicReader(connection.bootstrap, topics.dead)
    letters.until(lambda: bool(letters.values))
    (letter,) = letters.decoded(DeadLetter)
    letters.close()
    assert letter.record_value == HEADER.pack(0, KNOWN + 1) + b"body"
    assert "no release has announced it" in letter.error_message
