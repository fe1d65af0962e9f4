"""Reads `jobs.commands` from the beginning and `jobs.heartbeats` from the end, on a thread of its own."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.coordination.fencing import Fencing
from millstream.schemas import DecodeError, RegistryUnavailable, TopicCatalogue

log = structlog.get_logger(__name__)

POLL_S = 0.25
JOIN_S = 5.0


class CoordinationListener:
    """Reads from entering to leaving. A record that cannot be decoded is logged and skipped.

    `settings`: of the consumer; it is assigned its partitions, so it is no member of a group.
    """

    def __init__(
        self,
        settings: Mapping[str, str | int | float | bool],
        topics: TopicCatalogue,
        commands: ActiveCommands,
        fencing: Fencing,
    ) -> None:
        self._settings = settings
        self._starts = {topics.commands: OFFSET_BEGINNING, topics.heartbeats: OFFSET_END}
        self._commands_topic = topics.commands
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
        consumer = Consumer(dict(self._settings))
        try:
            consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in self._starts.items()])
            self._listen(consumer)
        except KafkaException as error:
            log.error("coordination_topics_unreadable", reason=str(error))
        finally:
            self._commands.caught_up.set()
            consumer.close()

    def _listen(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self._deliver(message)
            elif error.code() != KafkaError._PARTITION_EOF:
                log.warning("coordination_consumer_error", reason=error.str())
            elif message.topic() == self._commands_topic:
                self._commands.caught_up.set()

    def _deliver(self, message: Message) -> None:
        """Deliver a record; waits while the schema registry is unavailable."""
        while not self._stop.is_set():
            try:
                if message.topic() == self._commands_topic:
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
