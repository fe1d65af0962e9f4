"""What Millstream needs of a broker, one guarantee a test, on each broker that it supports.

What a broker is known not to do is declared with its reason in conftest.py, and checked to be so.
"""

import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from millstream.local.broker import Broker
from millstream.producers import JobClient, NewJob
from millstream.schemas import EventKind, KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics, inspect_topics
from tests.integration.consumers.worker.handlers import jobs as handlers
from tests.support.eventlog import EventLog
from tests.support.running_worker import RunningWorker
from tests.support.waiting import until

PARTITIONS = 4
METADATA = "m1r:" + "x" * 4000
"""The longest metadata of a commit that a stock broker takes holds 4,095 bytes; the offset ledger uses it."""

FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}


class Clients:
    """Clients of one topic, with the settings that Millstream uses."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.connection = KafkaConnection(bootstrap)
        self.topic = f"{prefix}contract"
        self.group = f"{prefix}group"
        self.admin = AdminClient(self.connection.client())
        self._consumers: list[Consumer] = []

    def create(self, **config: str) -> None:
        """Create the topic and wait until it can be used; underscores in the names of its settings stand for dots."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(self.topic, PARTITIONS, 1, config=settings)
        self.admin.create_topics([topic], operation_timeout=30)[self.topic].result()
        until(lambda: len(self._partitions_with_leaders()) == PARTITIONS)

    def _partitions_with_leaders(self) -> list[int]:
        topics = self.admin.list_topics(timeout=10).topics
        found = topics[self.topic].partitions if self.topic in topics else {}
        return [number for number, partition in found.items() if partition.leader >= 0]

    def transactional_producer(self) -> Producer:
        """A producer that has registered this test's transactional id."""
        producer = Producer(self.connection.producer(transactional_id=f"{self.group}-writer"))
        producer.init_transactions(30)
        return producer

    def write(self, *records: tuple[bytes | None, bytes | None], partition: int = -1) -> list[Message]:
        """Write keys and values, and return what the broker acknowledged."""
        acknowledged: list[Message] = []

        def note(error: object, message: Message) -> None:
            assert error is None, error
            acknowledged.append(message)

        # Long enough to send all records of a partition as one batch.
        producer = Producer(self.connection.producer(linger_ms=50))
        for key, value in records:
            producer.produce(self.topic, value, key, partition, on_delivery=note)
        assert producer.flush(30) == 0
        return acknowledged

    def member(self) -> Consumer:
        """A member of the group, subscribed to the topic."""
        consumer = Consumer(
            self.connection.consumer(
                self.group,
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=6000,
                heartbeat_interval_ms=1500,
            )
        )
        self._consumers.append(consumer)
        consumer.subscribe([self.topic])
        return consumer

    def reader(self, start: int = 0) -> Consumer:
        """A read_committed consumer of all partitions, outside any group."""
        consumer = Consumer(self.connection.consumer(f"reader-{uuid.uuid4().hex}"))
        self._consumers.append(consumer)
        consumer.assign([TopicPartition(self.topic, number, start) for number in range(PARTITIONS)])
        return consumer

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()


@pytest.fixture
def clients(any_broker: Broker, topic_prefix: str) -> Iterator[Clients]:
    made = Clients(any_broker.bootstrap, topic_prefix)
    yield made
    made.close()


def read(
    consumers: list[Consumer], enough: Callable[[list[Message]], bool], within_s: float = 40, more_s: float = 0.0
) -> list[Message]:
    """What the consumers read until it is enough, and for `more_s` longer."""
    found: list[Message] = []
    deadline = time.monotonic() + within_s
    while not enough(found):
        assert time.monotonic() < deadline, f"not enough after {within_s} s: {len(found)} records"
        for consumer in consumers:
            found += [message for message in consumer.consume(1000, 0.05) if message.error() is None]
    deadline = time.monotonic() + more_s
    while time.monotonic() < deadline:
        for consumer in consumers:
            found += [message for message in consumer.consume(1000, 0.05) if message.error() is None]
    return found


def values(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def until_assigned(members: list[Consumer], partitions: list[int]) -> None:
    """Poll all members until each has so many partitions."""
    deadline = time.monotonic() + 40
    while [len(member.assignment()) for member in members] != partitions:
        assert time.monotonic() < deadline, [member.assignment() for member in members]
        for member in members:
            member.poll(0.05)


class TestTopics:
    def test_the_catalogue_is_created_and_a_second_run_changes_nothing(
        self, clients: Clients, topic_prefix: str
    ) -> None:
        catalogue = TopicCatalogue(topic_prefix, partitions=2)
        assert {each.status for each in apply_topics(clients.connection, catalogue)} == {"ok"}
        assert [each for each in inspect_topics(clients.connection, catalogue) if each.status != "ok"] == []
        assert {each.status for each in apply_topics(clients.connection, catalogue)} == {"ok"}

    def test_a_topic_keeps_its_settings(self, clients: Clients) -> None:
        clients.create(cleanup_policy="compact")
        resource = ConfigResource(ConfigResource.Type.TOPIC, clients.topic)
        config = clients.admin.describe_configs([resource])[resource].result(10)
        assert config["cleanup.policy"].value == "compact"

    def test_a_deleted_topic_is_gone(self, clients: Clients) -> None:
        clients.create()
        clients.admin.delete_topics([clients.topic], operation_timeout=10)[clients.topic].result(20)
        until(lambda: clients.topic not in clients.admin.list_topics(timeout=10).topics)

    def test_a_topic_that_exists_is_not_created_again(self, clients: Clients) -> None:
        clients.create()
        with pytest.raises(KafkaException):
            clients.create()


class TestRecords:
    def test_a_key_goes_to_the_partition_that_the_java_partitioner_gives_it(self, clients: Clients) -> None:
        clients.create()
        keys = [f"key-{number}".encode() for number in range(100)]
        for message in clients.write(*((key, b"") for key in keys)):
            assert message.partition() == (murmur2(message.key()) & 0x7FFFFFFF) % PARTITIONS

    def test_a_partition_gives_its_records_in_the_order_in_which_they_were_written(self, clients: Clients) -> None:
        clients.create()
        written = [str(number).encode() for number in range(500)]
        clients.write(*((None, value) for value in written), partition=1)
        found = read([clients.reader()], lambda found: len(found) >= 500)
        assert values(found) == written
        assert [message.offset() for message in found] == list(range(500))

    def test_a_record_without_a_value_is_read_as_a_tombstone_of_its_key(self, clients: Clients) -> None:
        clients.create(cleanup_policy="compact")
        clients.write((b"key", b"value"), (b"key", None))
        found = read([clients.reader()], lambda found: len(found) >= 2)
        assert [(message.key(), message.value()) for message in found] == [(b"key", b"value"), (b"key", None)]

    def test_a_reader_may_begin_at_any_offset(self, clients: Clients) -> None:
        clients.create()
        clients.write(*((None, str(number).encode()) for number in range(10)), partition=0)
        assert values(read([clients.reader(7)], lambda found: len(found) >= 3)) == [b"7", b"8", b"9"]

    def test_the_first_offset_at_a_time_is_found(self, clients: Clients) -> None:
        clients.create()
        clients.write((None, b"early"), partition=0)
        time.sleep(0.05)
        moment = int(time.time() * 1000)
        time.sleep(0.05)
        clients.write((None, b"late"), partition=0)
        (found,) = clients.reader().offsets_for_times([TopicPartition(clients.topic, 0, moment)], 10)
        assert found.offset == 1

    def test_the_watermarks_are_the_first_offset_and_the_next_one(self, clients: Clients) -> None:
        clients.create()
        clients.write(*((None, b"value") for _ in range(5)), partition=2)
        assert clients.reader().get_watermark_offsets(TopicPartition(clients.topic, 2), 10) == (0, 5)


class TestGroups:
    def test_the_members_of_a_group_share_the_partitions_and_each_record_is_read_by_one(self, clients: Clients) -> None:
        clients.create()
        members = [clients.member(), clients.member()]
        until_assigned(members, [2, 2])
        written = [str(number).encode() for number in range(200)]
        clients.write(*((value, value) for value in written))
        found = read(members, lambda found: len(found) >= 200, more_s=0.5)
        assert sorted(filter(None, values(found))) == sorted(written)

    def test_the_partitions_of_a_member_that_leaves_go_to_the_others(self, clients: Clients) -> None:
        clients.create()
        stays, leaves = clients.member(), clients.member()
        until_assigned([stays, leaves], [2, 2])
        leaves.close()
        until_assigned([stays], [PARTITIONS])

    def test_a_group_resumes_at_its_committed_offset(self, clients: Clients) -> None:
        clients.create()
        clients.write(*((None, str(number).encode()) for number in range(10)), partition=0)
        first = clients.member()
        until_assigned([first], [PARTITIONS])
        first.commit(offsets=[TopicPartition(clients.topic, 0, 6)], asynchronous=False)
        first.close()
        found = read([clients.member()], lambda found: len(found) >= 4)
        assert values(found) == [b"6", b"7", b"8", b"9"]

    def test_the_metadata_of_a_commit_is_kept(self, clients: Clients) -> None:
        clients.create()
        member = clients.member()
        until_assigned([member], [PARTITIONS])
        member.commit(offsets=[TopicPartition(clients.topic, 0, 3, METADATA)], asynchronous=False)
        (kept,) = member.committed([TopicPartition(clients.topic, 0)], 10)
        assert (kept.offset, kept.metadata) == (3, METADATA)


class TestTransactions:
    def test_the_records_of_a_transaction_become_visible_with_its_commit(self, clients: Clients) -> None:
        clients.create()
        reader, writer = clients.reader(), clients.transactional_producer()
        writer.begin_transaction()
        writer.produce(clients.topic, b"one", partition=0)
        writer.produce(clients.topic, b"two", partition=1)
        writer.flush(10)
        assert read([reader], lambda _: True, more_s=1.0) == [], "nothing is visible before the commit"
        writer.commit_transaction(30)
        assert sorted(filter(None, values(read([reader], lambda found: len(found) >= 2)))) == [b"one", b"two"]

    def test_the_records_of_a_committed_transaction_are_read(self, clients: Clients) -> None:
        clients.create()
        writer = clients.transactional_producer()
        for number in range(3):
            writer.begin_transaction()
            writer.produce(clients.topic, str(number).encode(), partition=0)
            writer.commit_transaction(30)
        found = read([clients.reader()], lambda found: len(found) >= 3)
        assert values(found) == [b"0", b"1", b"2"]

    def test_the_records_of_an_aborted_transaction_are_never_visible(self, clients: Clients) -> None:
        clients.create()
        writer = clients.transactional_producer()
        writer.begin_transaction()
        writer.produce(clients.topic, b"aborted", partition=0)
        writer.flush(10)
        writer.abort_transaction(30)
        writer.begin_transaction()
        writer.produce(clients.topic, b"committed", partition=0)
        writer.commit_transaction(30)
        found = read([clients.reader()], lambda found: b"committed" in values(found))
        assert values(found) == [b"committed"]

    def test_offsets_sent_in_a_transaction_are_committed_with_it(self, clients: Clients) -> None:
        clients.create()
        member, writer = clients.member(), clients.transactional_producer()
        until_assigned([member], [PARTITIONS])
        writer.begin_transaction()
        writer.send_offsets_to_transaction([TopicPartition(clients.topic, 0, 7)], member.consumer_group_metadata(), 30)
        writer.commit_transaction(30)
        assert [each.offset for each in member.committed([TopicPartition(clients.topic, 0)], 30)] == [7]

    def test_the_metadata_of_offsets_sent_in_a_transaction_is_kept(self, clients: Clients) -> None:
        clients.create()
        member, writer = clients.member(), clients.transactional_producer()
        until_assigned([member], [PARTITIONS])
        writer.begin_transaction()
        offset = TopicPartition(clients.topic, 0, 7, METADATA)
        writer.send_offsets_to_transaction([offset], member.consumer_group_metadata(), 30)
        writer.commit_transaction(30)
        (kept,) = member.committed([TopicPartition(clients.topic, 0)], 30)
        assert (kept.offset, kept.metadata) == (7, METADATA)

    def test_offsets_sent_in_an_aborted_transaction_are_not_committed(self, clients: Clients) -> None:
        clients.create()
        member, writer = clients.member(), clients.transactional_producer()
        until_assigned([member], [PARTITIONS])
        member.commit(offsets=[TopicPartition(clients.topic, 0, 3)], asynchronous=False)
        writer.begin_transaction()
        writer.send_offsets_to_transaction([TopicPartition(clients.topic, 0, 7)], member.consumer_group_metadata(), 30)
        writer.abort_transaction(30)
        assert [each.offset for each in member.committed([TopicPartition(clients.topic, 0)], 30)] == [3]

    def test_a_new_producer_of_a_transactional_id_fences_the_old_one(self, clients: Clients) -> None:
        clients.create()
        old = clients.transactional_producer()
        old.begin_transaction()
        old.produce(clients.topic, b"fenced", partition=0)
        old.flush(10)
        new = clients.transactional_producer()
        with pytest.raises(KafkaException) as rejected:
            old.commit_transaction(3)
        assert rejected.value.args[0].code() in FENCED
        new.begin_transaction()
        new.produce(clients.topic, b"new", partition=1)
        new.commit_transaction(30)
        read([clients.reader()], lambda found: b"new" in values(found))


def test_a_submitted_job_is_executed_once_and_has_one_outcome(any_broker: Broker, topic_prefix: str) -> None:
    topics = TopicCatalogue(topic_prefix, lanes=("default",), partitions=2)
    connection = KafkaConnection(any_broker.bootstrap)
    apply_topics(connection, topics)
    log = EventLog(any_broker.bootstrap, topics.events)
    with JobClient(connection, topics) as client, RunningWorker(any_broker.bootstrap, topics, handlers):
        ids = client.submit_many([NewJob("sleep", {"seconds": 0.0}) for _ in range(50)])
        log.until_finished(ids)
        log.read(0.5)
    log.close()
    assert set(log.outcomes.values()) == {1}
    for job_id in ids:
        assert sorted(log.kinds_of(job_id)) == [EventKind.STARTED, EventKind.SUBMITTED, EventKind.SUCCEEDED]
