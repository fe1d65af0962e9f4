"""Reads `jobs.commands` from the beginning and `jobs.heartbeats` of the last seconds and on, on a thread of its own.

Besides commands, `jobs.commands` has a record for each lane whose partitions have become more, and one for each release
that has announced its schemas.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.topic_tail import TopicTail
from millstream.consumers.worker.coordination.background_thread import BackgroundThread
from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.coordination.new_partitions import NewPartitions
from millstream.consumers.worker.coordination.worker_watch import WorkerWatch
from millstream.line_rate import LineRate
from millstream.schemas import DecodeError, RegistryUnavailable, TopicCatalogue
from millstream.schemas.partition_growth import GROWTH_KEY
from millstream.schemas.registry import ANNOUNCEMENT_KEY

log = structlog.get_logger(__name__)

JOIN_S = 5.0
AGAIN_S = 2.0
SHOWN_KEY = 200
"""Bytes of a key in the log."""

LOOK_BACK_S = 2.0
"""Heartbeats that were sent so long ago are read too: another worker of this name may just have sent one."""


class CoordinationListener(BackgroundThread):
    """Reads from entering to leaving. A record that cannot be believed is counted by `on_rejected`, logged and
    skipped."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: TopicCatalogue,
        commands: ActiveCommands,
        watch: WorkerWatch,
        new_partitions: NewPartitions,
        denied: DeniedRights,
        on_rejected: Callable[[str], None] = lambda topic: None,
    ) -> None:
        super().__init__("millstream-coordination", JOIN_S)
        self._settings = settings
        self._topics = topics
        self._commands = commands
        self._watch = watch
        self._new_partitions = new_partitions
        self._denied = denied
        self._on_rejected = on_rejected
        self._lines = LineRate(1.0, most=10)

    def _run(self) -> None:
        starts = [
            TopicPartition(self._topics.commands, 0, OFFSET_BEGINNING),
            TopicPartition(self._topics.heartbeats, 0, OFFSET_END),
        ]
        while not self._stop.is_set():
            since_ms = {self._topics.heartbeats: int((time.time() - LOOK_BACK_S) * 1000)}
            try:
                with TopicTail(self._settings, starts, since_ms, self._denied) as tail:
                    self._listen(tail)
            except KafkaException as error:
                log.error("coordination_topics_unreadable", reason=str(error), action="trying again")
                self._stop.wait(AGAIN_S)

    def _listen(self, tail: TopicTail) -> None:
        while not self._stop.is_set():
            message = tail.read()
            self._denied.run_once()
            if message is not None:
                self._deliver(message)
                continue
            if tail.reached_end(self._topics.commands):
                self._commands.caught_up.set()
            if tail.reached_end(self._topics.heartbeats):
                self._watch.reached_end()

    def _receive(self, message: Message) -> None:
        key = message.key() or b""
        if message.topic() != self._topics.commands:
            self._watch.receive(message)
        elif key.startswith(ANNOUNCEMENT_KEY):
            # Of interest only once a record with such an id arrives.
            return
        elif key.startswith(GROWTH_KEY):
            self._new_partitions.receive(message.value())
        else:
            _, sent_ms = message.timestamp()
            self._commands.receive(key, message.value(), sent_ms / 1000)

    def _deliver(self, message: Message) -> None:
        """Deliver a record; waits while the schema registry is unavailable. Raises nothing: anybody may write to these
        topics, and without this thread no command would be applied any more."""
        while not self._stop.is_set():
            try:
                self._receive(message)
                return
            except RegistryUnavailable as error:
                log.warning("schema_registry_unavailable", topic=message.topic(), reason=str(error))
                self._stop.wait(1)
            except Exception as error:
                self._reject(message, error)
                return

    def _reject(self, message: Message, error: Exception) -> None:
        topic = message.topic() or ""
        self._on_rejected(topic)
        left_out = self._lines.admit((topic, type(error)))
        if left_out is not None:
            log.error(
                "coordination_record_unreadable",
                topic=topic,
                offset=message.offset(),
                key=(message.key() or b"")[:SHOWN_KEY].decode(errors="replace"),
                reason=str(error),
                left_out=left_out,
                exc_info=not isinstance(error, DecodeError),
            )
