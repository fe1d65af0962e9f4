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
from millstream.schemas.registry import ANNOUNCEMENT_KEY, pinned_schemas

REFRESH_S = 1.0
READ_WITHIN_S = 5.0


def announce_schemas(connection: KafkaConnection, topics: TopicCatalogue) -> None:
    """Announce the newest schema id of this release. Releases do not replace each other's announcements, so the order
    in which they write does not matter. Raises KafkaException."""
    newest = str(max(pinned_schemas())).encode()
    write_records(connection.quiet, topics, {ANNOUNCEMENT_KEY + newest: newest})


class AnnouncedSchemas:
    """The newest schema id that any release has announced. Thread-safe."""

    def __init__(self, connection: KafkaConnection, topics: TopicCatalogue) -> None:
        self._connection = connection
        self._topic = topics.commands
        self._lock = threading.Lock()
        self._next = OFFSET_BEGINNING
        self._newest = 0
        self._read_at = float("-inf")

    def newest(self) -> int:
        """The id, at most `REFRESH_S` seconds old; 0 when there is none. Reads what is new on `jobs.commands`, which
        takes some 50 ms, so it is called only for a record whose schema is not known.

        Raises `RegistryUnavailable` when the topic cannot be read to its end.
        """
        with self._lock:
            if time.monotonic() - self._read_at >= REFRESH_S:
                self._read()
                self._read_at = time.monotonic()
            return self._newest

    def _read(self) -> None:
        consumer = Consumer(self._connection.quiet.consumer("millstream-announced-schemas", enable_partition_eof=True))
        deadline = time.monotonic() + READ_WITHIN_S
        cause = KafkaError(KafkaError._TIMED_OUT, f"not read within {READ_WITHIN_S:g} s")
        try:
            consumer.assign([TopicPartition(self._topic, 0, self._next)])
            while (left_s := deadline - time.monotonic()) > 0:
                for message in consumer.consume(10_000, min(left_s, 0.2)):
                    error = message.error()
                    if error is not None and error.code() == KafkaError._PARTITION_EOF:
                        return
                    if error is not None:
                        # The topic may have been made again: then what it held before does not count.
                        self._next, cause = OFFSET_BEGINNING, error
                        continue
                    self._note(message.key() or b"")
                    self._next = (message.offset() or 0) + 1
        except KafkaException as error:
            cause = error.args[0]
        finally:
            consumer.close()
        raise RegistryUnavailable(f"{self._topic}, read for announced schemas: {cause.str()}")

    def _note(self, key: bytes) -> None:
        announced = key.removeprefix(ANNOUNCEMENT_KEY)
        if announced != key and announced.isdigit():
            self._newest = max(self._newest, int(announced))
