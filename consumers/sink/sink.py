"""The sink: the records of a topic into ClickHouse, each exactly once.

One thread owns the consumer; it polls, cuts batches, commits and never waits for ClickHouse. Inserts run on a few other
threads, one at a time for each partition. The life of a batch [a, b) of a partition:

1. The poll thread commits offset a with the metadata "until b" (`intent.py`). This also acknowledges the batch before.
2. A writer thread inserts it under a token made of topic, partition, a and b, as often as it takes.
3. The next batch's commit, or a plain commit at b when the partition falls quiet, acknowledges it.

Whoever is assigned a partition whose commit carries "until b" reads exactly [a, b) and starts again at step 2. A broker
that keeps no commit metadata (Tansu) makes this at least once: what was in flight at a crash may be inserted in other
ranges, hence under other tokens.
"""

import itertools
import math
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any

import structlog
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from millstream.consumers.sink.batch import Batch, Limits, PartitionBuffer
from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.dead_letters import DeadLetterSender
from millstream.consumers.sink.insert_order import order_inserts
from millstream.consumers.sink.intent import read_intent
from millstream.consumers.sink.records import Records
from millstream.consumers.sink.sources import EVENTS, Source
from millstream.consumers.sink.writer import Writer, Written
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue

log = structlog.get_logger("millstream.sink")

POLL_SECONDS = 0.05
POLL_RECORDS = 10_000
PAUSE_AFTER_SECONDS = 1.0
"""How long nothing is read before partitions are paused. To pause throws away what was fetched, and while inserts go on
there is soon room again."""
ROW_OVERHEAD = 200
"""Memory of one waiting record beside its value, in bytes."""

# Methods as functions, to be mapped over thousands of messages. The type stubs say that a message may lack partition
# and offset; those of a consumer have them.
PARTITION: Any = Message.partition
OFFSET: Any = Message.offset


@dataclass(eq=False)
class _Partition:
    """One assigned partition. A new assignment is a new object, so what an old one left behind is never mixed in."""

    number: int
    buffer: PartitionBuffer
    batch: Batch | None = None
    insert: Future[Written] | None = None
    inserted: int | None = None
    """End of the last batch inserted, when no commit has said so yet."""
    inserted_at: float = 0.0
    paused: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def memory(self) -> int:
        waiting = self.buffer.size + ROW_OVERHEAD * len(self.buffer.records)
        return waiting + (self.batch.size + ROW_OVERHEAD * len(self.batch.records) if self.batch else 0)


class Sink:
    """Runs one member of the consumer group of one source. The counters may be read from any thread."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        client: Client,
        codec: Codec,
        config: SinkConfig | None = None,
        source: Source = EVENTS,
    ) -> None:
        self.config = config or SinkConfig()
        self.source = source
        self.rows_read = 0
        self.rows_inserted = 0
        self.batches = 0
        self.dead_records = 0
        self.repeated_batches = 0
        """Batches that an earlier owner had announced and this one inserted again."""
        self.last_error = ""
        """Why the newest try failed; empty while all is well."""
        self._connection = connection
        self._topic = source.topic(topics)
        self._client = client
        self._codec = codec
        self._dead = DeadLetterSender(connection, topics, codec, self.config.instance_id or "sink", self._topic)
        self._partitions: dict[int, _Partition] = {}
        self._insert_seconds = 0.0
        self._full_since = math.inf
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then let inserts under way finish and leave the group.

        ClickHouse being away is waited out. Raises `KafkaException` when Kafka says that going on is impossible, such
        as when another member took this instance id, and `UnknownIntent`.
        """
        self._stop = stop
        static = {"group_instance_id": self.config.instance_id} if self.config.instance_id else {}
        self._consumer = Consumer(
            self._connection.consumer(
                self.config.group,
                partition_assignment_strategy="cooperative-sticky",
                # The lowest that a stock broker allows: a sink that dies is replaced after six seconds.
                session_timeout_ms=6000,
                heartbeat_interval_ms=1500,
                enable_partition_eof=True,
                queued_max_messages_kbytes=32 * 1024,
                topic_metadata_refresh_interval_ms=10_000,
                **static,
            )
        )
        self._pool = ThreadPoolExecutor(self.config.parallel_inserts, thread_name_prefix="sink-insert")
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        log.info("sink_started", topic=self._topic, group=self.config.group)
        try:
            while not stop.is_set():
                if self._has_room():
                    self._read()
                else:
                    stop.wait(POLL_SECONDS)
                self._finish()
                self._start()
                self._acknowledge()
        finally:
            try:
                self._release(self._partitions.values())
            finally:
                self._partitions.clear()
                self._consumer.close()
                self._pool.shutdown(wait=False, cancel_futures=True)
            log.info("sink_stopped", rows=self.rows_inserted, batches=self.batches, dead=self.dead_records)

    def _has_room(self) -> bool:
        """Whether more may be read. When there is no room for long, partitions are paused until half of it is free."""
        memory = sum(partition.memory for partition in self._partitions.values())
        if all(partition.batch is None for partition in self._partitions.values()):
            # No insert will make room: there are announced ranges, and they have to be read to their ends.
            memory = 0
        now = time.monotonic()
        if memory <= self.config.max_buffered_bytes:
            self._full_since = math.inf
            if memory < self.config.max_buffered_bytes / 2:
                self._pause(False)
            return True
        self._full_since = min(self._full_since, now)
        if now - self._full_since < PAUSE_AFTER_SECONDS:
            return False
        self._pause(True)
        # A paused consumer gets no records, but it has to be asked for some to stay in its group.
        return True

    def _pause(self, paused: bool) -> None:
        change = [part for part in self._partitions.values() if part.paused != paused]
        if not change:
            return
        switch = self._consumer.pause if paused else self._consumer.resume
        switch([self._position(part) for part in change])
        for partition in change:
            partition.paused = paused
        log.debug("paused" if paused else "resumed", last_error=self.last_error)

    def _read(self) -> None:
        messages = self._consumer.consume(POLL_RECORDS, POLL_SECONDS)
        now = time.monotonic()
        told: list[Message] = []
        if any(map(Message.error, messages)):
            told = [message for message in messages if message.error()]
            messages = [message for message in messages if not message.error()]
        self.rows_read += len(messages)
        for number, run in itertools.groupby(messages, PARTITION):
            if number in self._partitions:
                self._partitions[number].buffer.add(_columns(list(run)), now)
        for message in told:
            self._hear(message)

    def _hear(self, message: Any) -> None:
        """What stands in place of a record."""
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            if message.partition() in self._partitions:
                self._partitions[message.partition()].buffer.reach(message.offset())
        elif error.fatal():
            raise KafkaException(error)
        else:
            self._note("kafka", str(error))

    def _finish(self) -> None:
        for partition in self._partitions.values():
            if partition.insert is not None and partition.insert.done():
                self._finished(partition, partition.insert.result())

    def _finished(self, partition: _Partition, written: Written) -> None:
        assert partition.batch is not None
        self.rows_inserted += written.rows
        self.dead_records += len(written.unreadable)
        self.batches += 1
        self.last_error = ""
        partition.inserted = partition.batch.range.end
        partition.inserted_at = time.monotonic()
        partition.batch = partition.insert = None
        for found in itertools.islice(written.unreadable, 3):
            log.warning("record_unreadable", partition=partition.number, offset=found.offset, reason=found.reason)

    def _start(self) -> None:
        """Announce batches and hand them to the writers."""
        waiting = [part for part in self._partitions.values() if part.insert is None]
        busy = len(self._partitions) - len(waiting)
        config = self.config
        ready = order_inserts(
            waiting, busy, config.parallel_inserts, self._limits(), config.max_seconds, time.monotonic()
        )
        intents = [self._position(part, batch.range.start, batch.range.metadata) for part, batch in ready]
        if not self._commit(intents):
            return
        for partition, batch in ready:
            partition.inserted = None
            partition.insert = self._pool.submit(self._insert, partition, batch, self._writer)

    def _limits(self) -> Limits:
        config = self.config
        # Batches grow older while inserts are slow, so that small ones leave ClickHouse time for others.
        busy = self._insert_seconds * len(self._partitions) / config.parallel_inserts
        patience = min(config.max_seconds, max(config.min_seconds, 3 * busy))
        return Limits(config.max_rows, config.max_bytes, patience, config.target_rows)

    def _insert(self, partition: _Partition, batch: Batch, writer: Writer) -> Written:
        """On a writer thread: insert until it is done or the partition is released."""
        for attempt in itertools.count(1):
            began = time.monotonic()
            try:
                written = writer.write(partition.number, batch)
                if self.source.gives_dead_letters:
                    self._dead.send(partition.number, written.unreadable)
            except Exception as error:
                # Whatever it was, the batch is announced: it is inserted under its token, or left to the next owner.
                self._note("insert", str(error), partition=partition.number, attempt=attempt)
                if partition.released.wait(min(5.0, 0.1 * 2 ** min(attempt, 6))):
                    raise
            else:
                self._insert_seconds += (time.monotonic() - began - self._insert_seconds) / 8
                return written
        raise AssertionError("unreachable")

    def _acknowledge(self) -> None:
        before = time.monotonic() - self.config.acknowledge_seconds
        quiet = [
            part
            for part in self._partitions.values()
            if part.batch is None and part.inserted is not None and part.inserted_at <= before
        ]
        self._acknowledge_now(quiet)

    def _acknowledge_now(self, partitions: Sequence[_Partition]) -> None:
        offsets = [self._position(part, part.inserted) for part in partitions if part.inserted is not None]
        if self._commit(offsets):
            for partition in partitions:
                partition.inserted = None

    def _assigned(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        starts = []
        if assigned:
            self._writer = Writer(
                self._client,
                self._codec.registry,
                self.source,
                self._topic,
                self._topic_id(),
            )
        for committed in self._committed(assigned):
            number, offset = committed.partition, committed.offset
            intent = read_intent(offset, committed.metadata)
            buffer = PartitionBuffer(offset if offset >= 0 else None, intent.end if intent else None)
            self._partitions[number] = _Partition(number, buffer)
            starts.append(TopicPartition(self._topic, number, offset))
            if intent is not None:
                self.repeated_batches += 1
                log.info("batch_repeated", partition=number, start=intent.start, end=intent.end)
        consumer.incremental_assign(starts)
        # A partition that was paused when it was given away is still paused when it comes back.
        consumer.resume(starts)
        log.info("assigned", partitions=sorted(part.partition for part in assigned))

    def _committed(self, assigned: list[TopicPartition]) -> list[TopicPartition]:
        """What the group has committed. Asked until it is known: to start from anywhere else would lose or double."""
        while assigned and not self._stop.is_set():
            try:
                committed = self._consumer.committed(assigned, timeout=10)
                failed = [part.error for part in committed if part.error is not None]
                if not failed:
                    return committed
                self._note("committed", str(failed[0]))
            except KafkaException as error:
                self._note("committed", str(error))
            self._stop.wait(0.5)
        return []

    def _topic_id(self) -> str:
        topic = self._topic
        admin = AdminClient(self._connection.client())
        while not self._stop.is_set():
            try:
                return str(admin.describe_topics(TopicCollection([topic]))[topic].result(10).topic_id)
            except KafkaException as error:
                self._note("describe_topics", str(error))
                self._stop.wait(0.5)
        return ""

    def _revoked(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        gone = [self._partitions[part.partition] for part in revoked if part.partition in self._partitions]
        self._release(gone)
        for partition in gone:
            del self._partitions[partition.number]
        consumer.incremental_unassign(revoked)
        log.info("revoked", partitions=sorted(part.partition for part in revoked))

    def _lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """The group went on without us: another member may own these by now, so nothing is committed."""
        for part in lost:
            partition = self._partitions.pop(part.partition, None)
            if partition is not None:
                partition.released.set()
        consumer.incremental_unassign(lost)
        log.warning("lost", partitions=sorted(part.partition for part in lost))

    def _release(self, partitions: Iterable[_Partition]) -> None:
        """Wait a while for inserts under way and acknowledge what is in. What is not stays announced."""
        leaving = list(partitions)
        wait_for([part.insert for part in leaving if part.insert is not None], self.config.release_seconds)
        for partition in leaving:
            partition.released.set()
            if partition.insert is not None and partition.insert.done() and partition.insert.exception() is None:
                self._finished(partition, partition.insert.result())
        self._acknowledge_now([part for part in leaving if part.insert is None])

    def _position(self, partition: _Partition, offset: int = -1001, metadata: str | None = None) -> TopicPartition:
        if metadata is None:
            return TopicPartition(self._topic, partition.number, offset)
        return TopicPartition(self._topic, partition.number, offset, metadata)

    def _commit(self, offsets: list[TopicPartition]) -> bool:
        """Whether the group now has these offsets. A rebalance in between says no; then the poll loop sorts it out."""
        if not offsets:
            return True
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            self._note("commit", str(error))
            return False
        failed = [part.error for part in committed or [] if part.error is not None]
        if failed:
            self._note("commit", str(failed[0]))
        return not failed

    def _note(self, what: str, reason: str, **details: object) -> None:
        self.last_error = f"{what}: {reason}"
        log.warning(f"{what}_failed", reason=reason[:500], **details)


def _columns(messages: Sequence[Message]) -> Records:
    return Records(list(map(OFFSET, messages)), list(map(Message.key, messages)), list(map(Message.value, messages)))
