"""Writes outcomes and offsets in one Kafka transaction: both are visible or neither is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.monitoring.metrics import Metrics
from millstream.schemas import KafkaConnection

log = structlog.get_logger(__name__)

OPEN_WITHIN_S = 2.0
ALONE_FROM_BYTES = 4096
"""Where a record is too large, those from this size on are judged one by one, smaller ones together."""

_REFUSED_FOR_GOOD = (
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
)


class TransactionAborted(RuntimeError):
    """Nothing of the batch was written; writing it again is safe. `too_large` are the records that the broker refused
    for their size, as far as that is known: the writes after an aborted one find out."""

    def __init__(self, reason: str, too_large: Sequence[OutgoingRecord] = ()) -> None:
        super().__init__(reason)
        self.too_large = too_large


class WriterBroken(RuntimeError):
    """The producer can do no more: fenced by its successor, or in a fatal state. Whether the batch was written is
    unknown; the group's committed offsets tell."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Offsets of one consumer group, and the group's metadata when they were taken."""

    offsets: Sequence[TopicPartition]
    group: Any


class TransactionWriter:
    """A transactional producer. Not thread-safe."""

    def __init__(
        self, connection: KafkaConnection, transactional_id: str, transaction_timeout_ms: int, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._careful = False
        self._refused: set[str] = set()
        self._newly_refused: set[str] = set()
        self._producer = Producer(
            connection.producer(
                transactional_id=transactional_id,
                transaction_timeout_ms=transaction_timeout_ms,
                linger_ms=0,
                queue_buffering_max_messages=500_000,
            )
        )

    def open(self, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Fence every older producer of this transactional id and end what it left open.

        Blocks until a coordinator answers; `go_on` is asked every few seconds, and its no makes the answer False.
        Raises `WriterBroken` when the broker refuses, and `KafkaException` when it always will: for want of rights, or
        because of a setting.
        """
        while go_on():
            try:
                self._producer.init_transactions(OPEN_WITHIN_S)
                return True
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.code() in _REFUSED_FOR_GOOD:
                    raise
                if not cause.retriable():
                    raise WriterBroken(cause.str()) from error
                log.warning("waiting for the transaction coordinator", reason=cause.str())
        return False

    def write(self, records: Sequence[OutgoingRecord], commits: Sequence[Commit]) -> None:
        """Write the batch. When it returns, records and offsets are committed.

        Raises `TransactionAborted` or `WriterBroken`.
        """
        producer, began = self._producer, time.monotonic()
        too_large: list[OutgoingRecord] = []
        try:
            producer.begin_transaction()
            if self._careful:
                self._produce_one_by_one(records, too_large)
            else:
                self._produce(records)
            for commit in commits:
                producer.send_offsets_to_transaction(list(commit.offsets), commit.group, 10)
            self._commit()
            self._careful = False
            self._refused.clear()
            self._metrics.timed_transaction(began)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.fatal() or cause.code() == KafkaError._FENCED:
                raise WriterBroken(cause.str()) from error
            self._abort(cause)
            self._careful = True
            self._refused |= self._newly_refused
            self._newly_refused.clear()
            raise TransactionAborted(cause.str(), too_large) from error

    def _produce(self, records: Sequence[OutgoingRecord]) -> None:
        """Hand over all records. One call for a topic's records: each call may wait for the interpreter's lock."""
        by_topic: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            by_topic.setdefault(record.topic, []).append({"value": record.value, "key": record.key})
        for topic, messages in by_topic.items():
            left = messages
            while left and self._producer.produce_batch(topic, left) < len(left):
                left = [each for each in left if "_error" in each]
                for message in left:
                    error: KafkaError = message.pop("_error")
                    if error.code() != KafkaError._QUEUE_FULL:
                        raise KafkaException(error)
                self._producer.poll(0.05)

    def _produce_one_by_one(self, records: Sequence[OutgoingRecord], too_large: list[OutgoingRecord]) -> None:
        """After a failure: hear of each delivery, to find out which records are too large."""
        together = 0
        for record in records:
            size = record.size
            if record.topic in self._refused and together + size > ALONE_FROM_BYTES:
                # A broker refuses whole batches; alone in its batch a record is judged by its own size.
                self._producer.flush(10)
                together = 0
            together += size
            delivered = partial(self._delivered, record, too_large)
            while True:
                try:
                    self._producer.produce(record.topic, record.value, record.key, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(0.05)
                except KafkaException as error:
                    # What the client itself finds too large is never sent.
                    delivered(error.args[0], None)
                    raise

    def _delivered(
        self, record: OutgoingRecord, too_large: list[OutgoingRecord], error: KafkaError | None, _: Message | None
    ) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            if record.topic in self._refused:
                too_large.append(record)
            self._newly_refused.add(record.topic)

    def _commit(self) -> None:
        while True:
            try:
                self._producer.commit_transaction(10)
                return
            except KafkaException as error:
                # A commit that timed out may have happened: only asking again tells.
                if not error.args[0].retriable():
                    raise
                time.sleep(0.05)

    def _abort(self, cause: KafkaError) -> None:
        while True:
            try:
                self._producer.abort_transaction(10)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise WriterBroken(f"{cause.str()}; and the abort failed: {error.args[0].str()}") from error
                time.sleep(0.05)
