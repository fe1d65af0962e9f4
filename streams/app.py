"""The Faust application around the tracker."""

import os
import socket
import sys
import time
from functools import cached_property, partial
from typing import Any, NoReturn, cast

import faust
import structlog
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from yarl import URL

from millstream.redaction import Redaction
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.schemas.connection import METADATA_REFRESH_MS
from millstream.schemas.denial import RIGHTS
from millstream.schemas.topics import MAX_RECORD_BYTES
from millstream.streams.config import TrackerConfig
from millstream.streams.credentials import credentials
from millstream.streams.event_batches import batches, waiting_bytes
from millstream.streams.http_api import HttpApi, IdleConnections, NoOwner
from millstream.streams.lag import Behind, Lag
from millstream.streams.log_limit import LIBRARY_LOGGER
from millstream.streams.stall_detector import CHECK_INTERVAL_S, RecoveryWatch, SecondReader, StallDetector
from millstream.streams.state_table import StateTable
from millstream.streams.tracker import Tracker
from millstream.streams.transport import FlowControl, TrackerConsumer, TrackerTransport
from millstream.streams.web_server import WebServer

log = structlog.get_logger(__name__)

EXIT_STALLED = 70
EXIT_REFUSED = 6
"""Exit code when Kafka refuses a right."""

_ANY_ADDRESS = {"0.0.0.0", "::", ""}
EVICT_INTERVAL_S = 10.0
IDLE_CHECK_S = 1.0
SESSION_S = 6.0
WRITE_BYTES = 256 * 1024
"""Bytes of the states that are written to a partition at once."""


class _App(faust.App):
    """Faust's application without its folder: the table lives in memory, its changelog in Kafka."""

    logger = LIBRARY_LOGGER
    api: HttpApi

    def _new_web(self) -> WebServer:
        return WebServer(self, self.api.app)

    @cached_property
    def flow_control(self) -> FlowControl:
        return FlowControl(loop=self.loop)

    def _create_directories(self) -> None:
        """No directories are needed."""


class _Placement:
    """Which partition a state belongs to, and which of them the group has assigned to this tracker."""

    def __init__(self, app: faust.App, topic: str) -> None:
        self._app = app
        self._topic = topic

    def partition(self, key: bytes) -> int:
        return int(self._app.producer.key_partition(self._topic, key).partition)

    def owned(self) -> set[int]:
        return _owned(self._app, self._topic)

    async def load(self, refresh: bool = False) -> None:
        """Wait until the producer knows the topic's partitions: Faust looks up a key's partition without waiting. With
        `refresh` it asks for them again: the consumer may have heard of new partitions first."""
        producer: Any = self._app.producer
        client = producer._ensure_producer()
        if refresh:
            await client.client.force_metadata_update()
        await client.partitions_for(self._topic)


def build_app(
    connection: KafkaConnection,
    topics: TopicCatalogue,
    codec: Codec,
    config: TrackerConfig,
    redaction: Redaction | None = None,
) -> faust.App:
    """The application, ready for `run_tracker`. Raises `UnsupportedOption` for a connection it cannot make, and
    `UnprotectedListener` for an address beyond loopback without a token."""
    guard = config.http_guard()
    app = _application(connection, topics, config)
    events = app.topic(topics.events, key_serializer="raw", value_serializer="raw")
    table = _states_table(app, topics)
    placement = _Placement(app, topics.states)
    tracker = Tracker(table, placement, codec, config.retention_s, redaction)
    _connect(app, connection, tracker, topics.events)
    second = SecondReader(connection, app.conf.id, topics.events)
    lag, idle = Lag(), IdleConnections()
    stall_detector, recovery_watch = StallDetector(second.unread), RecoveryWatch(second.kafka_answers)

    @app.agent(events, concurrency=1, name="track")
    async def track(stream: Any) -> None:
        # Faust may commit past an unfinished message when several finish out of order; one batch at a time has no
        # such order, and a batch is acknowledged when the next one is asked for.
        await placement.load()
        cast(Any, app.transport).buffered_bytes = partial(waiting_bytes, stream)
        async for batch in batches(app, stream, config.batch, config.batch_within_s):
            try:
                await tracker.apply_batch(batch)
            except TopicAuthorizationFailedError as error:
                _end_without_right(connection, "Write", f"topic {topics.states}", error)
            except Exception:
                # Faust would restart the agent after this batch and commit past it, and its regular stop waits for ever
                # for a batch that is never acknowledged. The next tracker reads the batch again.
                log.critical("batch_not_written", action="the tracker ends", exc_info=True)
                _end()
            stall_detector.processed(batch)
            lag.applied(batch)
            batch[:] = [message for message in batch if not tracker.holds(message)]

    @table.on_recover
    async def recovered() -> None:
        await placement.load(refresh=True)
        await tracker.restore()

    @app.timer(min(EVICT_INTERVAL_S, config.retention_s))  # type: ignore[untyped-decorator]
    async def evict() -> None:
        if tracker.recovered and not app.rebalancing:
            await tracker.evict()

    @app.timer(CHECK_INTERVAL_S)  # type: ignore[untyped-decorator]
    async def check_for_stall() -> None:
        tracker.report_newer()
        reading = tracker.recovered and not app.rebalancing
        unread = await stall_detector.check(_owned(app, topics.events) if reading and not tracker.awaits_schema else ())
        if unread:
            # Whatever keeps the tracker from reading, its health does not show it; the next process starts afresh.
            log.critical("tracker_stalled", offsets=unread, action="the tracker ends")
            _end()
        # Offsets that Faust does not know yet are None.
        progress = app.rebalancing, dict(cast(Any, app.tables).recovery.active_offsets), tracker.jobs
        if await recovery_watch.check(reading, progress):
            log.critical("recovery_stalled", rebalancing=app.rebalancing, action="the tracker ends")
            _end()

    def behind() -> Behind | None:
        consumer = cast(TrackerConsumer, app.consumer)
        owned = [tp for tp in app.assignor.assigned_actives() if tp.topic == topics.events]
        return lag.measure({tp.partition: consumer.known_position(tp) for tp in owned}, time.time())

    @app.timer(IDLE_CHECK_S)  # type: ignore[untyped-decorator]
    async def look_after_connections() -> None:
        idle.close(cast(WebServer, app.web).connections)
        if tracker.recovered and not app.rebalancing:
            # The moments at which the tracker is level with the events are noted also when nobody asks.
            behind()

    app.api = HttpApi(
        guard,
        tracker,
        is_ready=lambda: tracker.recovered and not app.rebalancing,
        owner=partial(_owner, app, table.name),
        behind=behind,
        session=lambda: cast(Any, app.http_client),
    )
    return app


def _owner(app: faust.App, table: str, job_id: str) -> str | None:
    """The address of the tracker that owns a job's state; None for this one. Raises `NoOwner`."""
    try:
        url = URL(str(app.router.key_store(table, job_id.encode())))
    except KeyError as error:
        raise NoOwner(job_id) from error
    # Faust gives `host:port`, with or without a scheme.
    address = str(url) if url.scheme in ("http", "https") else f"http://{url}"
    mine = app.conf.canonical_url
    return None if (URL(address).host, URL(address).port) == (mine.host, mine.port) else address.rstrip("/")


def _application(connection: KafkaConnection, topics: TopicCatalogue, config: TrackerConfig) -> _App:
    """The application without topics, table and tasks. Raises `UnsupportedOption` for a connection it cannot make."""
    app = _App(
        f"{topics.prefix}tracker",
        broker=[f"kafka://{address}" for address in connection.bootstrap.split(",")],
        broker_credentials=credentials(connection),
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
        producer_max_batch_size=WRITE_BYTES,
        # Learn of new partitions as soon as workers and producers do.
        consumer_metadata_max_age_ms=METADATA_REFRESH_MS,
        producer_metadata_max_age_ms=METADATA_REFRESH_MS,
        # A promoted standby would read its partition from the beginning all the same.
        table_standby_replicas=0,
        Table=StateTable,
        topic_replication_factor=config.replicas,
        topic_partitions=_partitions(topics, topics.events),
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
    return app


def _states_table(app: faust.App, topics: TopicCatalogue) -> StateTable:
    states = app.topic(
        topics.states,
        partitions=_partitions(topics, topics.states),
        compacting=True,
        key_serializer="raw",
        value_serializer="raw",
    )
    # A write outside the stream's own iteration needs the partitioner to find a key's partition.
    return cast(
        StateTable,
        app.Table("states", key_type=bytes, value_type=bytes, changelog_topic=states, use_partitioner=True),
    )


def _partitions(topics: TopicCatalogue, name: str) -> int:
    return next(topic.partitions for topic in topics if topic.name == name)


def _end_without_right_to_read(connection: KafkaConnection, group: str, events: str, error: Exception) -> NoReturn:
    topic = error.args[0] if error.args and isinstance(error.args[0], str) else events
    of_group = isinstance(error, GroupAuthorizationFailedError)
    _end_without_right(connection, "Read", f"group {group}" if of_group else f"topic {topic}", error)


def _end_without_right(connection: KafkaConnection, operation: str, resource: str, error: Exception) -> NoReturn:
    """Say which right Kafka refuses, and end."""
    log.critical(
        "right_missing",
        user=connection.user,
        operation=operation,
        resource=resource,
        reason=str(error),
        action="the tracker ends",
        see=RIGHTS,
    )
    _end(EXIT_REFUSED)


def _end(code: int = EXIT_STALLED) -> NoReturn:
    """End at once, so that the supervisor restarts the tracker after the last acknowledged batch."""
    sys.stdout.flush()
    os._exit(code)


def _connect(app: faust.App, connection: KafkaConnection, tracker: Tracker, events: str) -> None:
    """Tell the tracker of offsets that do not exist any more, and the transport what is not acknowledged; end when
    Kafka refuses to be read."""
    transport = cast(TrackerTransport, app.transport)
    transport.on_offset_reset = partial(_note_offset_reset, tracker, events)
    transport.on_denied = partial(_end_without_right_to_read, connection, app.conf.id, events)
    transport.is_held = lambda partition: partition in tracker.newer


def _note_offset_reset(tracker: Tracker, events: str, topic: str, partition: int, offset: int) -> None:
    """A log of states that begins later is nothing to note: what was deleted there had been replaced."""
    if topic == events:
        tracker.offset_reset(topic, partition, offset)


def _owned(app: faust.App, topic: str) -> set[int]:
    return {tp.partition for tp in app.assignor.assigned_actives() if tp.topic == topic}
