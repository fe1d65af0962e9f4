"""Which schemas newer releases write: `millstream topics apply` announces the newest id of its release.

A record with a schema id above those that a release knows was written by a newer one, or by somebody who may write to
the topic and made the id up. The announcement decides: it is a record on `jobs.commands`, to which only operators
write. A record with an announced id waits until it can be read; one with any other id is unreadable.
"""

import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from millstream.producers.commands_topic import write_records
from millstream.schemas import KafkaConnection, RegistryUnavailable, TopicCatalogue
from millstream.schemas.denial import named
from millstream.schemas.registry import ANNOUNCEMENT_KEY, pinned_schemas

FIRST_ANSWER_WITHIN_S = 0.5
"""How long the first question waits for the topic to be read; no later one waits."""

IDLE_S = 60.0
"""The topic is no longer read when nobody has asked for this long."""

CONFIRM_S = 1.0
"""How long after the last record the broker is asked whether it is still there."""

BELIEVED_S = 15.0
"""How long what has been read is believed while no broker confirms it."""

RETRY_S = 1.0
METADATA_WITHIN_S = 5.0


def announce_schemas(connection: KafkaConnection, topics: TopicCatalogue) -> None:
    """Announce the newest schema id of this release. Releases do not replace each other's announcements, so the order
    in which they write does not matter. Raises KafkaException."""
    newest = str(max(pinned_schemas())).encode()
    write_records(connection.quiet, topics, {ANNOUNCEMENT_KEY + newest: newest})


class AnnouncedSchemas:
    """The newest schema id that any release has announced. Thread-safe.

    Whoever asks is the thread on which a service polls Kafka, so a thread of its own reads `jobs.commands`. It starts
    at the first question: a service that meets no unknown schema needs none.
    """

    def __init__(self, connection: KafkaConnection, topics: TopicCatalogue) -> None:
        self._connection = connection
        self._topic = topics.commands
        self._lock = threading.Lock()
        self._reading = False
        self._asked_at = float("-inf")
        self._next = OFFSET_BEGINNING
        self._newest = 0
        self._at_end = threading.Event()
        self._confirmed_at = 0.0
        self._problem = "not read to its end yet"

    def newest(self) -> int:
        """The id, 0 when there is none. Raises `RegistryUnavailable` while the topic cannot be read."""
        with self._lock:
            self._asked_at = time.monotonic()
            first, self._reading = not self._reading, True
        if first:
            threading.Thread(target=self._run, name="millstream-announced-schemas", daemon=True).start()
        if not self._at_end.wait(FIRST_ANSWER_WITHIN_S if first else 0):
            raise RegistryUnavailable(f"{self._topic}, read for announced schemas: {self._problem}")
        return self._newest

    def _run(self) -> None:
        while not self._is_idle():
            try:
                self._read()
                return
            except KafkaException as error:
                # The topic may have been made again, so that offsets of the one before mean nothing.
                self._next, self._problem = OFFSET_BEGINNING, error.args[0].str()
                self._at_end.clear()
                time.sleep(RETRY_S)

    def _read(self) -> None:
        """Read on until nobody asks. Raises KafkaException."""
        settings = self._connection.quiet.consumer("millstream-announced-schemas", enable_partition_eof=True)
        consumer = Consumer(settings)
        try:
            # A consumer that is no member of a group hears late that it must not read, or not at all.
            missing = consumer.list_topics(self._topic, METADATA_WITHIN_S).topics[self._topic].error
            if missing is not None and missing.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self._denied(missing)
            consumer.assign([TopicPartition(self._topic, 0, self._next)])
            while not self._is_idle():
                message = consumer.poll(CONFIRM_S)
                if message is None:
                    self._confirm(consumer)
                    continue
                error = message.error()
                if error is None:
                    self._note(message.key() or b"")
                    self._next = (message.offset() or 0) + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._confirmed_at = time.monotonic()
                    self._at_end.set()
                elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                    # The client asks for its group in any case; nothing here needs it.
                    raise self._denied(error)
        finally:
            consumer.close()

    def _confirm(self, consumer: Consumer) -> None:
        """Ask the broker for the end of the topic: a consumer that hears nothing may be cut off, or may have lost its
        right. Raises KafkaException without the right, and when no answer has come for `BELIEVED_S`."""
        try:
            consumer.get_watermark_offsets(TopicPartition(self._topic, 0), METADATA_WITHIN_S)
        except KafkaException as error:
            denied = error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
            if denied or time.monotonic() - self._confirmed_at > BELIEVED_S:
                raise self._denied(error.args[0]) from error
        else:
            self._confirmed_at = time.monotonic()

    def _denied(self, error: KafkaError) -> KafkaException:
        """The error, with a text that names the right if one is missing."""
        return named(KafkaException(error), self._connection.user, "Read", f"topic {self._topic}")

    def _is_idle(self) -> bool:
        """Whether nobody has asked for long; the next question then starts a thread again."""
        with self._lock:
            if time.monotonic() - self._asked_at > IDLE_S:
                self._reading = False
                self._at_end.clear()
            return not self._reading

    def _note(self, key: bytes) -> None:
        announced = key.removeprefix(ANNOUNCEMENT_KEY)
        if announced != key and announced.isdigit():
            self._newest = max(self._newest, int(announced))
