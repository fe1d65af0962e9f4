"""Reads `jobs.commands` from the beginning and `jobs.heartbeats` from the end, on a thread of its own."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.topic_tail import TopicTail
from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.coordination.fencing import Fencing
from millstream.schemas import DecodeError, RegistryUnavailable, TopicCatalogue

log = structlog.get_logger(__name__)

JOIN_S = 5.0


class CoordinationListener:
    """Reads from entering to leaving. A record that cannot be decoded is logged and skipped."""

    def __init__(
        self,
        settings: Mapping[str, str | int | float | bool],
        topics: TopicCatalogue,
        commands: ActiveCommands,
        fencing: Fencing,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._commands = commands
        self._fencing = fencing
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millstream-coordination", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        starts = [
            TopicPartition(self._topics.commands, 0, OFFSET_BEGINNING),
            TopicPartition(self._topics.heartbeats, 0, OFFSET_END),
        ]
        try:
            with TopicTail(self._settings, starts) as tail:
                self._listen(tail)
        except KafkaException as error:
            log.error("coordination_topics_unreadable", reason=str(error))
        finally:
            self._commands.caught_up.set()

    def _listen(self, tail: TopicTail) -> None:
        while not self._stop.is_set():
            message = tail.read()
            if message is not None:
                self._deliver(message)
            elif tail.reached_end(self._topics.commands):
                self._commands.caught_up.set()

    def _deliver(self, message: Message) -> None:
        """Deliver a record; waits while the schema registry is unavailable."""
        while not self._stop.is_set():
            try:
                if message.topic() == self._topics.commands:
                    self._commands.receive(message.key() or b"", message.value())
                else:
                    self._fencing.receive(message.value())
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
