"""A sink without its loop, on a scripted consumer, writer and registry."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition

from millstream.consumers.sink import SinkConfig
from millstream.consumers.sink.batch import InsertBatch
from millstream.consumers.sink.holds import Holds
from millstream.consumers.sink.insert_cycle import InsertCycle
from millstream.consumers.sink.ownership import Ownership
from millstream.consumers.sink.partitions import SinkCommits
from millstream.consumers.sink.reading import Reading
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.rejected import RejectedRecord
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.topic_facts import TopicIdentity
from millstream.consumers.sink.writer import InsertResult, RefusedForSize, Report, Writer
from millstream.schemas import PinnedRegistry, RegistryUnavailable
from millstream.schemas.registry import Schema, pinned_schemas
from tests.support.scripted_group import CLUSTER, ScriptedConsumer, ScriptedMessage
from tests.support.waiting import until

TOPIC = "jobs.events"
EVENT_ID = PinnedRegistry().id_of("JobEvent")
NEWER_ID = max(pinned_schemas()) + 1
EVENT = b"\0" + EVENT_ID.to_bytes(4) + b"body"
NEWER = b"\0" + NEWER_ID.to_bytes(4) + b"body"


class ScriptedWriter:
    """Inserts nothing. `fails`: how many tries fail first; those of the partitions `never` always fail. `blocks`:
    inserts wait until `unblock` is set. Batches of more than `most_rows` are refused for their size. `whole_arrived`:
    so is what a batch was cut from, after all."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []
        self.announced_ends: list[int] = []
        self.most_rows: int | None = None
        self.may_be_cut = True
        self.whole_arrived = False
        self.fails = 0
        self.never: set[int] = set()
        self.rejects: list[RejectedRecord] = []
        self.blocks = False
        self.unblock = threading.Event()

    def write(self, partition: int, batch: InsertBatch, refusals: int, report: Report) -> InsertResult:
        if self.most_rows is not None and len(batch.records) > self.most_rows:
            raise RefusedForSize("memory limit exceeded", may_be_cut=self.may_be_cut)
        if self.fails or partition in self.never:
            self.fails -= partition not in self.never
            raise ConnectionError("ClickHouse is away")
        if self.blocks:
            self.unblock.wait(10)
        report(self.rejects)
        self.written.append((partition, batch.range.start, batch.range.end))
        self.announced_ends.append(batch.range.first_end)
        end = batch.range.first_end if self.whole_arrived else batch.range.end
        return InsertResult(len(batch.records) - len(self.rejects), self.rejects, end)


class ScriptedRegistry(PinnedRegistry):
    """A registry of a release that learns of a schema, or of one that does not answer."""

    def __init__(self) -> None:
        super().__init__(lambda: 0 if self.unannounced else NEWER_ID)
        self.unannounced = False
        self.knows_newer = False
        self.away = False
        self.answers = threading.Event()
        self.answers.set()

    def schema_of(self, schema_id: int) -> Schema:
        self.answers.wait(10)
        if self.away:
            raise RegistryUnavailable("no answer")
        if schema_id == NEWER_ID and self.knows_newer:
            return super().schema_of(EVENT_ID)
        return super().schema_of(schema_id)


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
    registry: ScriptedRegistry = field(default_factory=ScriptedRegistry)
    stop: threading.Event = field(default_factory=threading.Event)
    max_buffered_bytes: int = 10**9

    def __post_init__(self) -> None:
        consumer = cast(Consumer, self.consumer)
        self.pool = ThreadPoolExecutor(2)
        self.commits = SinkCommits(consumer, TOPIC, self.status)
        letters: Any = self.letters
        holds = Holds(TOPIC, RecordSchemas(self.registry, "JobEvent"), self.status)
        self.inserts = InsertCycle(self.config, self.pool, self.commits, holds, letters, self.status)
        self.topic_id = "first"
        self.owned = Ownership(
            TOPIC, self.commits, self.inserts, self.status, self.stop, 0.1, self._identity, self._new_writer
        )
        self.reading = Reading(
            consumer, TOPIC, self.owned.partitions, self.status, self.max_buffered_bytes, self.owned.log_changed
        )

    def _identity(self) -> TopicIdentity:
        return TopicIdentity(self.topic_id, CLUSTER)

    def _new_writer(self, topic_id: str) -> None:
        self.inserts.writer = cast(Writer, self.writer)

    def assign(self, *numbers: int) -> None:
        self.owned.on_assign(cast(Consumer, self.consumer), [TopicPartition(TOPIC, each) for each in numbers])

    def revoke(self, *numbers: int) -> None:
        self.owned.on_revoke(cast(Consumer, self.consumer), [TopicPartition(TOPIC, each) for each in numbers])

    def arrive(self, partition: int, first_offset: int, count: int) -> None:
        self.arrive_values(partition, first_offset, [EVENT] * count)

    def arrive_values(self, partition: int, first_offset: int, values: Sequence[bytes]) -> None:
        rows = [ScriptedMessage(TOPIC, partition, first_offset + at, value) for at, value in enumerate(values)]
        self.consumer.arriving.append(rows)
        self.reading.read()

    def out_of_range(self, partition: int, code: int = KafkaError._AUTO_OFFSET_RESET) -> None:
        """The client cannot read on where it was, and Kafka is asked why."""
        self.consumer.arriving.append([ScriptedMessage(TOPIC, partition, 0, None, KafkaError(code))])
        self.reading.read()
        self.owned.go_on(cast(Consumer, self.consumer))

    def turn(self) -> None:
        """One round of the poll loop without reading."""
        partitions = self.owned.partitions.values()
        self.inserts.collect(partitions)
        self.inserts.start(partitions)
        self.reading.follow_holds()
        self.inserts.acknowledge(partitions)

    def inserted(self, batches: int) -> None:
        def done() -> bool:
            self.turn()
            return self.status.batches == batches

        until(done)

    def commits_made(self) -> list[tuple[int, int, str | None]]:
        return [what for name, what in self.consumer.calls if name == "commit"]
