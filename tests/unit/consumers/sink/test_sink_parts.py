"""The parts of a sink on a scripted consumer: what is announced, inserted, acknowledged, and repeated by the next
owner."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from millstream.consumers.sink import SinkConfig
from millstream.consumers.sink import reading as reading_module
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.insert_cycle import InsertCycle
from millstream.consumers.sink.intent import UnknownIntent
from millstream.consumers.sink.ownership import Ownership
from millstream.consumers.sink.partitions import SinkCommits
from millstream.consumers.sink.reading import Reading
from millstream.consumers.sink.rejected import RejectedRecord
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.writer import InsertResult, Writer
from tests.support.scripted_group import ScriptedConsumer, ScriptedMessage
from tests.support.waiting import until

TOPIC = "jobs.events"


class ScriptedWriter:
    """Inserts nothing. `fails`: how many tries fail first. `blocks`: inserts wait until `unblock` is set."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []
        self.fails = 0
        self.rejects: list[RejectedRecord] = []
        self.blocks = False
        self.unblock = threading.Event()

    def write(self, partition: int, batch: InsertBatch) -> InsertResult:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("ClickHouse is away")
        if self.blocks:
            self.unblock.wait(10)
        self.written.append((partition, batch.range.start, batch.range.end))
        return InsertResult(len(batch.records) - len(self.rejects), self.rejects)


class ScriptedLetters:
    """Takes dead letters."""

    def __init__(self) -> None:
        self.sent: list[RejectedRecord] = []

    def send(self, partition: int, rejected: list[RejectedRecord]) -> None:
        self.sent += rejected


@dataclass
class Parts:
    """A sink without its loop."""

    config: SinkConfig = field(default_factory=lambda: SinkConfig(min_age_s=0, max_age_s=0, acknowledge_after_s=0))
    consumer: ScriptedConsumer = field(default_factory=ScriptedConsumer)
    status: SinkStatus = field(default_factory=SinkStatus)
    writer: ScriptedWriter = field(default_factory=ScriptedWriter)
    letters: ScriptedLetters = field(default_factory=ScriptedLetters)
    stop: threading.Event = field(default_factory=threading.Event)
    max_buffered_bytes: int = 10**9

    def __post_init__(self) -> None:
        consumer = cast(Consumer, self.consumer)
        self.pool = ThreadPoolExecutor(2)
        self.commits = SinkCommits(consumer, TOPIC, self.status)
        letters: Any = self.letters
        self.inserts = InsertCycle(self.config, self.pool, self.commits, letters, self.status)
        self.owned = Ownership(TOPIC, self.commits, self.inserts, self.status, self.stop, 0.1, self._new_writer)
        self.reading = Reading(consumer, TOPIC, self.owned.partitions, self.status, self.max_buffered_bytes)

    def _new_writer(self) -> None:
        self.inserts.writer = cast(Writer, self.writer)

    def assign(self, *numbers: int) -> None:
        self.owned.on_assign(cast(Consumer, self.consumer), [TopicPartition(TOPIC, each) for each in numbers])

    def revoke(self, *numbers: int) -> None:
        self.owned.on_revoke(cast(Consumer, self.consumer), [TopicPartition(TOPIC, each) for each in numbers])

    def arrive(self, partition: int, first_offset: int, count: int) -> None:
        rows = [ScriptedMessage(TOPIC, partition, first_offset + n, b"value") for n in range(count)]
        self.consumer.arriving.append(rows)
        self.reading.read()

    def turn(self) -> None:
        """One round of the poll loop without reading."""
        partitions = self.owned.partitions.values()
        self.inserts.collect(partitions)
        self.inserts.start(partitions)
        self.inserts.acknowledge(partitions)

    def inserted(self, batches: int) -> None:
        def done() -> bool:
            self.turn()
            return self.status.batches == batches

        until(done)

    def commits_made(self) -> list[tuple[int, int, str | None]]:
        return [what for name, what in self.consumer.calls if name == "commit"]


@pytest.fixture(autouse=True)
def messages_are_scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "PARTITION", ScriptedMessage.partition)
    monkeypatch.setattr(reading_module, "OFFSET", ScriptedMessage.offset)
    monkeypatch.setattr(reading_module, "Message", ScriptedMessage)


def test_a_batch_is_announced_before_it_is_inserted_and_acknowledged_after() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 5, 3)
    parts.writer.blocks = True
    parts.turn()
    assert parts.commits_made() == [(0, 5, "v1 until=8")] and parts.writer.written == []
    parts.writer.unblock.set()
    parts.inserted(1)
    parts.turn()
    assert parts.writer.written == [(0, 5, 8)]
    assert parts.commits_made()[-1][:2] == (0, 8)
    assert parts.status.rows_inserted == 3


def test_nothing_is_inserted_that_could_not_be_announced() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 3)
    parts.consumer.commit_fails = True
    parts.turn()
    time.sleep(0.05)
    assert parts.writer.written == [] and parts.status.last_error.startswith("commit_failed")
    parts.consumer.commit_fails = False
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 3)]


def test_an_insert_is_repeated_until_it_is_done() -> None:
    parts = Parts()
    parts.writer.fails = 2
    parts.assign(0)
    parts.arrive(0, 0, 1)
    parts.inserted(1)
    assert parts.writer.written == [(0, 0, 1)]


def test_rejected_records_are_sent_to_the_dead_letters_and_do_not_count_as_rows() -> None:
    parts = Parts()
    parts.writer.rejects = [RejectedRecord(1, None, b"value", "not a number")]
    parts.assign(0)
    parts.arrive(0, 0, 3)
    parts.inserted(1)
    assert parts.letters.sent == parts.writer.rejects
    assert (parts.status.rows_inserted, parts.status.dead_records) == (2, 1)


def test_an_announced_range_is_read_and_inserted_exactly_before_anything_else() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "v1 until=14")
    parts.assign(0)
    assert ("assign", [(0, 10)]) in parts.consumer.calls
    parts.arrive(0, 10, 9)
    parts.inserted(1)
    assert parts.writer.written == [(0, 10, 14)] and parts.status.repeated_batches == 1
    parts.inserted(2)
    assert parts.writer.written[1] == (0, 14, 19)


def test_metadata_of_something_else_ends_the_sink_rather_than_lose_or_duplicate_events() -> None:
    parts = Parts()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10, "somebody else's")
    with pytest.raises(UnknownIntent):
        parts.assign(0)


def test_an_insert_that_finishes_within_the_grace_period_is_acknowledged_before_the_partition_is_given_back() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.turn()
    parts.revoke(0)
    assert [what[:2] for what in parts.commits_made()] == [(0, 0), (0, 2)]
    assert parts.consumer.calls[-1] == ("unassign", [0]) and parts.owned.partitions == {}


def test_an_insert_that_outlasts_the_grace_period_stays_announced_for_the_next_owner() -> None:
    parts = Parts()
    parts.writer.blocks = True
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.turn()
    parts.revoke(0)
    assert parts.consumer.commits[TOPIC, 0].metadata == "v1 until=2"
    parts.writer.unblock.set()


def test_an_insert_that_keeps_failing_ends_when_its_partition_is_released() -> None:
    parts = Parts()
    parts.writer.fails = 10**6
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.turn()
    insert = parts.owned.partitions[0].insert
    parts.revoke(0)
    assert insert is not None
    with pytest.raises(ConnectionError):
        insert.result(5)


def test_nothing_of_a_lost_partition_is_committed() -> None:
    parts = Parts()
    parts.assign(0)
    parts.arrive(0, 0, 2)
    parts.owned.on_lost(cast(Consumer, parts.consumer), [TopicPartition(TOPIC, 0)])
    parts.turn()
    assert parts.commits_made() == []


def test_reading_pauses_while_too_much_waits_and_resumes_when_half_of_it_is_inserted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_module, "PAUSE_AFTER_S", 0.0)
    parts = Parts(max_buffered_bytes=500)
    parts.writer.blocks = True
    parts.assign(0)
    parts.arrive(0, 0, 5)
    parts.turn()
    assert parts.reading.has_room(), "it is polled, but paused"
    assert parts.consumer.paused == {(TOPIC, 0)}
    parts.writer.unblock.set()
    parts.inserted(1)
    assert parts.reading.has_room() and parts.consumer.paused == set()


def test_a_fatal_error_of_the_consumer_ends_the_sink_and_another_one_does_not() -> None:
    parts = Parts()
    parts.assign(0)
    for error, fatal in ((KafkaError(KafkaError._TRANSPORT), False), (KafkaError(KafkaError._FATAL, fatal=True), True)):
        parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, 0, None, error)])
        if fatal:
            with pytest.raises(KafkaException):
                parts.reading.read()
        else:
            parts.reading.read()
            assert parts.status.last_error.startswith("consumer_error")
