"""Reads `jobs.commands` from the beginning and `jobs.heartbeats` of the last seconds and on, on a thread of its own.

Besides commands, `jobs.commands` has a record for each lane whose partitions have become more.
"""

import time
from collections.abc import Mapping

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.topic_tail import TopicTail
from millstream.consumers.worker.coordination.background_thread import BackgroundThread
from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.coordination.new_partitions import NewPartitions
from millstream.consumers.worker.coordination.worker_watch import WorkerWatch
from millstream.schemas import DecodeError, RegistryUnavailable, TopicCatalogue
from millstream.schemas.partition_growth import GROWTH_KEY

log = structlog.get_logger(__name__)

JOIN_S = 5.0
AGAIN_S = 2.0
LOOK_BACK_S = 2.0
"""Heartbeats that were sent so long ago are read too: another worker of this name may just have sent one."""


class CoordinationListener(BackgroundThread):
    """Reads from entering to leaving. A record that cannot be decoded is logged and skipped."""

    def __init__(
        self,
        settings: Mapping[str, str | int | float | bool],
        topics: TopicCatalogue,
        commands: ActiveCommands,
        watch: WorkerWatch,
        new_partitions: NewPartitions,
        denied: DeniedRights,
    ) -> None:
        super().__init__("millstream-coordination", JOIN_S)
        self._settings = settings
        self._topics = topics
        self._commands = commands
        self._watch = watch
        self._new_partitions = new_partitions
        self._denied = denied

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
        elif key.startswith(GROWTH_KEY):
            self._new_partitions.receive(message.value())
        else:
            _, sent_ms = message.timestamp()
            self._commands.receive(key, message.value(), sent_ms / 1000)

    def _deliver(self, message: Message) -> None:
        """Deliver a record; waits while the schema registry is unavailable."""
        while not self._stop.is_set():
            try:
                self._receive(message)
                return
            except RegistryUnavailable as error:
                log.warning("schema_registry_unavailable", topic=message.topic(), reason=str(error))
                self._stop.wait(1)
            except DecodeError as error:
                log.error(
                    "coordination_record_unreadable",
                    topic=message.topic(),
                    offset=message.offset(),
                    key=(message.key() or b"").decode(errors="replace"),
                    reason=str(error),
                )
                return
