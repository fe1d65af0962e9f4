"""The Faust application around the tracker."""

import os
import socket
import sys
from functools import cached_property
from typing import Any, NoReturn

import faust
import structlog

from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.schemas.topics import MAX_RECORD_BYTES
from millstream.streams.config import TrackerConfig
from millstream.streams.credentials import credentials
from millstream.streams.http_api import add_http_api
from millstream.streams.stall_detector import CHECK_INTERVAL_S, SecondReader, StallDetector
from millstream.streams.tracker import Tracker
from millstream.streams.transport import FlowControl, TrackerTransport

log = structlog.get_logger(__name__)

EXIT_STALLED = 70
_ANY_ADDRESS = {"0.0.0.0", "::", ""}
EVICT_INTERVAL_S = 10.0
SESSION_S = 6.0


class _App(faust.App):
    """Faust's application without its folder: the table lives in memory, its changelog in Kafka."""

    @cached_property
    def flow_control(self) -> FlowControl:
        return FlowControl(loop=self.loop)

    def _create_directories(self) -> None:
        """No directories are needed."""


def build_app(connection: KafkaConnection, topics: TopicCatalogue, codec: Codec, config: TrackerConfig) -> faust.App:
    """The application, ready for `run_tracker`. Raises `UnsupportedOption` for a connection it cannot make."""
    partitions = {topic.name: topic.partitions for topic in topics}
    app = _App(
        f"{topics.prefix}tracker",
        broker=[f"kafka://{address}" for address in connection.bootstrap.split(",")],
        broker_credentials=credentials(connection.options),
        store="memory://",
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=SESSION_S / 4,
        broker_request_timeout=15.0,
        broker_max_poll_interval=300.0,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_linger=0.002,
        producer_max_request_size=MAX_RECORD_BYTES,
        topic_replication_factor=config.replicas,
        topic_partitions=partitions[topics.events],
        # Topics are made by `millstream topics apply`, with their retention and cleanup policy.
        topic_allow_declare=False,
        # No leader election is needed.
        topic_disable_leader=True,
        # Other trackers forward requests to this address, so it must name this host even when it listens on all.
        web_host=socket.gethostname() if config.host in _ANY_ADDRESS else config.host,
        web_bind=config.host,
        web_port=config.port,
        worker_redirect_stdouts=False,
    )
    app.transport = TrackerTransport(app.conf.broker_consumer, app)
    events = app.topic(topics.events, key_serializer="raw", value_serializer="raw")
    states = app.topic(
        topics.states,
        partitions=partitions[topics.states],
        compacting=True,
        key_serializer="raw",
        value_serializer="raw",
    )
    # A write outside the stream's own iteration needs the partitioner to find a key's partition.
    table = app.Table("states", key_type=bytes, value_type=bytes, changelog_topic=states, use_partitioner=True)
    tracker = Tracker(table, codec, config.retention_s)
    stall_detector = StallDetector(SecondReader(connection, app.conf.id, topics.events).unread)

    @app.agent(events, concurrency=1, name="track")
    async def track(stream: Any) -> None:
        # Faust may commit past an unfinished message when several finish out of order; one batch at a time has no
        # such order, and a batch is acknowledged when the next one is asked for.
        await _load_partitions(app, topics.states)
        # Every batch waits for its own writes, so Faust need not block the stream for them as well.
        app.producer.buffer.max_messages = 2 * config.batch
        async for batch in stream.take_events(config.batch, within=config.batch_within_s):
            try:
                await tracker.apply_batch(event.message for event in batch)
            except Exception:
                # Faust would restart the agent after this batch and commit past it, and its regular stop waits for ever
                # for a batch that is never acknowledged. The next tracker reads the batch again.
                log.critical("batch_not_written", action="the tracker ends", exc_info=True)
                _end()
            stall_detector.processed(event.message for event in batch)

    @table.on_recover
    async def recovered() -> None:
        await _load_partitions(app, topics.states)
        owned = _owned(app, topics.states)
        for key in [key for key in table.data if _partition(app, topics.states, key) not in owned]:
            del table.data[key]
        tracker.restore(table.data.items())

    @app.timer(min(EVICT_INTERVAL_S, config.retention_s))  # type: ignore[untyped-decorator]
    async def evict() -> None:
        if tracker.recovered:
            await tracker.evict()

    @app.timer(CHECK_INTERVAL_S)  # type: ignore[untyped-decorator]
    async def check_for_stall() -> None:
        reading = tracker.recovered and not app.rebalancing
        unread = await stall_detector.check(_owned(app, topics.events) if reading else ())
        if unread:
            # Whatever keeps the tracker from reading, its health does not show it; the next process starts afresh.
            log.critical("tracker_stalled", offsets=unread, action="the tracker ends")
            _end()

    add_http_api(app, table, tracker)
    return app


def _end() -> NoReturn:
    """End at once, so that the supervisor restarts the tracker after the last acknowledged batch."""
    sys.stdout.flush()
    os._exit(EXIT_STALLED)


def _owned(app: faust.App, topic: str) -> set[int]:
    return {tp.partition for tp in app.assignor.assigned_actives() if tp.topic == topic}


async def _load_partitions(app: faust.App, topic: str) -> None:
    """Wait until the producer knows a topic's partitions: Faust looks up a key's partition without waiting."""
    producer: Any = app.producer
    await producer._ensure_producer().partitions_for(topic)


def _partition(app: faust.App, topic: str, key: bytes) -> int:
    return int(app.producer.key_partition(topic, key).partition)
