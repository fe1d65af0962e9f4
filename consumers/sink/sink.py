"""The sink: the records of a topic into ClickHouse, each exactly once.

One thread owns the consumer; it polls, cuts batches, commits and never waits for ClickHouse. Inserts run on a few other
threads, one at a time for each partition (`insert_cycle.py`). Whoever is assigned a partition whose commit announces a
range reads exactly that range and inserts it again (`ownership.py`). An offset that the log does not have is an error,
after which the partition goes on from the right place (`start.py`). A partition whose next record cannot be inserted
yet waits there (`holds.py`).

A broker that keeps no commit metadata (Tansu) makes this at least once: what was in flight at a crash may be inserted
in other ranges, hence under other tokens.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from millstream.consumers.kafka.broker_status import BROKERS_INTERVAL_MS, BrokerStatus, is_connected
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.frozen_process import run_or_exit
from millstream.consumers.kafka.membership import Membership
from millstream.consumers.sink.config import SinkConfig
from millstream.consumers.sink.dead_letters import DeadLetterSender
from millstream.consumers.sink.holds import Holds
from millstream.consumers.sink.insert_cycle import InsertCycle
from millstream.consumers.sink.ownership import Ownership
from millstream.consumers.sink.partitions import SinkCommits
from millstream.consumers.sink.reading import POLL_S, Reading
from millstream.consumers.sink.record_schemas import RecordSchemas
from millstream.consumers.sink.sources import EVENTS, Source
from millstream.consumers.sink.status import SinkStatus
from millstream.consumers.sink.topic_facts import TIMEOUT_S, TopicIdentity
from millstream.consumers.sink.writer import Writer
from millstream.redaction import Redaction
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue

log = structlog.get_logger("millstream.sink")


LEAST_AHEAD, MOST_AHEAD = 4 * 1024 * 1024, 32 * 1024 * 1024
"""Bytes that the client reads ahead of all partitions, and that one fetch may bring."""


class Sink:
    """Runs one member of the consumer group of one source. `status` may be read from any thread.

    `brokers`: shared by the sinks of a process.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        client: Client,
        codec: Codec,
        config: SinkConfig | None = None,
        source: Source = EVENTS,
        redaction: Redaction | None = None,
        brokers: BrokerStatus | None = None,
    ) -> None:
        """`redaction` is applied to what ClickHouse says of records."""
        self.config = config or SinkConfig()
        self._brokers = brokers or BrokerStatus()
        self.source = source
        self.status = SinkStatus(redaction)
        self._connection = connection
        self.topic = source.topic(topics)
        self._client = client
        self._codec = codec
        name = self.config.instance_id or "sink"
        sender = DeadLetterSender(connection, topics, codec, name, self.topic, self.status.shown)
        self._dead_letters = sender if source.gives_dead_letters else None

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then let inserts under way finish and leave the group. Blocks.

        Waits while ClickHouse is away. Raises `KafkaException` after a fatal error, such as when another member took
        this instance id, and `UnknownIntent`.
        """
        config, status = self.config, self.status
        consumer = self._consumer()
        pool = ThreadPoolExecutor(config.parallel_inserts, thread_name_prefix="sink-insert")
        commits = SinkCommits(consumer, self.topic, status)
        schemas = RecordSchemas(self._codec.registry, self.source.record)
        inserts = InsertCycle(config, pool, commits, Holds(self.topic, schemas, status), self._dead_letters, status)

        def new_writer(topic_id: str) -> None:
            inserts.writer = Writer(self._client, schemas, self.source, self.topic, topic_id, status)

        owned = Ownership(self.topic, commits, inserts, status, stop, config.revoke_grace_s, self._identity, new_writer)
        denied = DeniedRights(self._connection)
        reading = Reading(
            consumer,
            self.topic,
            owned.partitions,
            status,
            config.max_buffered_bytes,
            owned.log_changed,
            lambda error, topic: denied.note(error, topic, config.group),
        )

        def on_assign(member: Consumer, assigned: list[TopicPartition]) -> None:
            denied.group_joined(config.group)
            owned.on_assign(member, assigned)

        membership = Membership(consumer)
        membership.join([self.topic], on_assign=on_assign, on_revoke=owned.on_revoke, on_lost=owned.on_lost)
        log.info("sink_started", topic=self.topic, group=config.group)
        try:
            while not stop.is_set():
                status.goes_round()
                if reading.has_room():
                    reading.read(inserts.quiet_s(owned.partitions.values()))
                else:
                    stop.wait(POLL_S)
                denied.run_once()
                owned.go_on(consumer)
                partitions = owned.partitions.values()
                inserts.collect(partitions)
                inserts.start(partitions)
                reading.follow_holds()
                inserts.acknowledge(partitions)
        finally:
            try:
                owned.release(owned.partitions.values())
            finally:
                owned.partitions.clear()
                run_or_exit([membership.leave])
                pool.shutdown(wait=False, cancel_futures=True)
                schemas.close()
            log.info("sink_stopped", rows=status.rows_inserted, batches=status.batches, dead=status.dead_records)

    def _consumer(self) -> Consumer:
        static = {"group_instance_id": self.config.instance_id} if self.config.instance_id else {}
        ahead = max(LEAST_AHEAD, min(MOST_AHEAD, self.config.max_buffered_bytes // 8))
        settings: dict[str, Any] = dict(
            self._connection.consumer(
                self.config.group,
                partition_assignment_strategy="cooperative-sticky",
                # The lowest that a broker allows by default: a sink that dies is replaced after six seconds.
                session_timeout_ms=6000,
                heartbeat_interval_ms=1500,
                enable_partition_eof=True,
                # An offset that is not in the log must be noticed.
                auto_offset_reset="error",
                fetch_wait_max_ms=self.config.fetch_wait_ms,
                fetch_min_bytes=1 if self.source.hurried else ahead,
                queued_max_messages_kbytes=ahead // 1024,
                fetch_max_bytes=ahead,
                topic_metadata_refresh_interval_ms=10_000,
                statistics_interval_ms=BROKERS_INTERVAL_MS,
                **static,
            )
        )
        return Consumer({**settings, "stats_cb": self._on_statistics})

    def _on_statistics(self, statistics: str) -> None:
        self.status.kafka_answers = is_connected(json.loads(statistics))
        self._brokers.note(self.topic, self.status.kafka_answers, time.monotonic())

    def _identity(self) -> TopicIdentity:
        # Kept until the answer is there: a client that is dropped ends its requests.
        admin = AdminClient(self._connection.client())
        described = admin.describe_topics(TopicCollection([self.topic]), request_timeout=TIMEOUT_S)
        try:
            topic_id = str(described[self.topic].result(TIMEOUT_S + 1).topic_id)
        except TimeoutError as error:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the topic is not described")) from error
        return TopicIdentity(topic_id, str(admin.list_topics(self.topic, TIMEOUT_S).cluster_id or ""))
