"""Sends records that ClickHouse rejected to `jobs.dead`, unchanged and with the reason."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream.consumers.dead_letters import dead_letter, shortened
from millstream.consumers.sink.rejected import RejectedRecord
from millstream.schemas import Codec, DeadLetter, DeadReason, KafkaConnection, TopicCatalogue
from millstream.schemas.denial import named
from millstream.schemas.fatal_error import cause_of_failure

LETTERS_AT_ONCE, LETTER_BYTES_AT_ONCE = 100, 8 * 1024 * 1024
"""So many are in the producer at a time; one of them may be larger by itself."""

UUID_TEXT = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class DeadLetterSender:
    """Connects when the first letter is sent. Thread-safe."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        codec: Codec,
        sender: str,
        source: str,
        shown: Callable[[str], str],
    ) -> None:
        """`source` is the topic that the records were read from. `shown` returns what may be written of a reason."""
        self._shown = shown
        self._connection = connection
        self._topics = topics
        self._codec = codec
        self._sender = sender
        self._source = source
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def send(self, partition: int, rejected: Sequence[RejectedRecord], timeout: float = 30) -> None:
        """Returns when the broker has all of them; raises `KafkaException` otherwise. A repeat sends them again."""
        for together in _groups(rejected):
            self._send(partition, together, timeout)

    def _send(self, partition: int, rejected: Sequence[RejectedRecord], timeout: float) -> None:
        producer = self._connect()
        try:
            self._write(producer, partition, rejected, timeout)
        except (KafkaException, SystemError) as error:
            # One that has failed for good does not recover.
            with self._lock:
                self._producer = None
            cause = cause_of_failure(producer, error)
            raise named(cause, self._connection.user, "Write", f"topic {self._topics.dead}") from error

    def _write(self, producer: Producer, partition: int, rejected: Sequence[RejectedRecord], timeout: float) -> None:
        failures: list[KafkaError] = []
        delivered: list[Message] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered.append(message)
            else:
                failures.append(error)

        for found in rejected:
            letter = self._letter(partition, found)
            try:
                producer.produce(
                    self._topics.dead, self._codec.encode(letter), letter.record_key, on_delivery=on_delivery
                )
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                # The record fitted into its topic; with the letter's fields it does not. It is still at its offset.
                small = shortened(letter)
                producer.produce(
                    self._topics.dead, self._codec.encode(small), small.record_key, on_delivery=on_delivery
                )
        producer.flush(timeout)
        if failures:
            raise named(KafkaException(failures[0]), self._connection.user, "Write", f"topic {self._topics.dead}")
        if len(delivered) < len(rejected):
            raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT, "dead letters were not acknowledged in time"))

    def _letter(self, partition: int, found: RejectedRecord) -> DeadLetter:
        key = found.key or b""
        letter = dead_letter(
            DeadReason.SINK_UNREADABLE,
            {"error_type": "SinkRejectedRecord", "error_message": self._shown(found.reason)},
            worker_id=self._sender,
            topic=self._source,
            partition=partition,
            offset=found.offset,
            key=found.key,
            value=found.value,
        )
        return letter.model_copy(update={"job_id": key.decode()}) if UUID_TEXT.fullmatch(key) else letter

    def _connect(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(self._connection.producer(client_id=self._sender))
            return self._producer


def _groups(rejected: Sequence[RejectedRecord]) -> Iterator[list[RejectedRecord]]:
    """The records in groups whose letters are in memory at the same time."""
    group: list[RejectedRecord] = []
    size = 0
    for each in rejected:
        more = len(each.value or b"")
        if group and (len(group) == LETTERS_AT_ONCE or size + more > LETTER_BYTES_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(each)
        size += more
    if group:
        yield group
