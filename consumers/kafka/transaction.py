"""Writes records and offsets in one Kafka transaction: both become visible or neither does."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.schemas import KafkaConnection

log = structlog.get_logger(__name__)

OPEN_WITHIN_S = 2.0
ALONE_FROM_BYTES = 4096
"""After a rejection for size, records from this size on are sent one by one, smaller ones together."""

_PERMANENT_ERRORS = (
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
)


class TransactionAborted(RuntimeError):
    """Nothing of the batch was written; writing it again is safe. `too_large`: the records that the broker rejected for
    their size, as far as known. Only the write after an aborted one finds out which they are."""

    def __init__(self, reason: str, too_large: Sequence[OutgoingRecord] = ()) -> None:
        super().__init__(reason)
        self.too_large = too_large


class ProducerLost(RuntimeError):
    """The transactional producer is unusable: fenced by its successor, or in a fatal state. Whether the last batch was
    written is unknown until the group's committed offsets are read."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Offsets of one consumer group, with the group's metadata at the time they were read from the ledgers."""

    offsets: Sequence[TopicPartition]
    group: Any


class TransactionWriter:
    """A transactional producer. Not thread-safe.

    `on_committed` is called after each committed transaction with its duration in seconds, on the thread that writes.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        transactional_id: str,
        transaction_timeout_ms: int,
    ) -> None:
        self.on_committed: Callable[[float], None] = lambda duration_s: None
        self._one_by_one = False
        self._rejecting: set[str] = set()
        self._newly_rejecting: set[str] = set()
        self._producer = Producer(
            connection.producer(
                transactional_id=transactional_id,
                transaction_timeout_ms=transaction_timeout_ms,
                linger_ms=0,
                queue_buffering_max_messages=500_000,
            )
        )

    def open(self, topic: str, keep_waiting: Callable[[], bool] = lambda: True) -> bool:
        """Fence every older producer of this transactional id and abort what it left open.

        Blocks until a coordinator answers. `topic`: one that the client may read metadata of. `keep_waiting` is called
        every few seconds; when it returns False, so does this. Raises `ProducerLost` when the broker rejects the
        request, and `KafkaException` when it always will: for lack of rights, or because of a setting.
        """
        # librdkafka waits for half a second after a transactional request that finds no connection, so connect first.
        with suppress(KafkaException):
            self._producer.list_topics(topic, OPEN_WITHIN_S)
        while keep_waiting():
            try:
                self._producer.init_transactions(OPEN_WITHIN_S)
                return True
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.code() in _PERMANENT_ERRORS:
                    raise
                if not cause.retriable():
                    raise ProducerLost(cause.str()) from error
                log.warning("transaction_coordinator_unavailable", reason=cause.str())
        return False

    def write(self, records: Sequence[OutgoingRecord], commits: Sequence[Commit]) -> None:
        """Write the batch. When it returns, records and offsets are committed.

        Raises `TransactionAborted` or `ProducerLost`.
        """
        producer, began = self._producer, time.monotonic()
        too_large: list[OutgoingRecord] = []
        try:
            producer.begin_transaction()
            if self._one_by_one:
                self._produce_one_by_one(records, too_large)
            else:
                self._produce(records)
            for commit in commits:
                producer.send_offsets_to_transaction(list(commit.offsets), commit.group, 10)
            self._commit()
            self._one_by_one = False
            self._rejecting.clear()
            self.on_committed(time.monotonic() - began)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.fatal() or cause.code() == KafkaError._FENCED:
                raise ProducerLost(cause.str()) from error
            self._abort(cause)
            self._one_by_one = True
            self._rejecting |= self._newly_rejecting
            self._newly_rejecting.clear()
            raise TransactionAborted(cause.str(), too_large) from error

    def _produce(self, records: Sequence[OutgoingRecord]) -> None:
        """Enqueue all records, one call per topic: each call may have to wait for the interpreter's lock."""
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
        """After a failure: ask for a delivery report of each record, to find out which are too large."""
        together = 0
        for record in records:
            size = record.size
            if record.topic in self._rejecting and together + size > ALONE_FROM_BYTES:
                # A broker rejects whole batches; a record alone in its batch is accepted or rejected by its own size.
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
                    # The client itself rejects what exceeds its own limit, without a delivery report.
                    delivered(error.args[0], None)
                    raise

    def _delivered(
        self, record: OutgoingRecord, too_large: list[OutgoingRecord], error: KafkaError | None, _: Message | None
    ) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            if record.topic in self._rejecting:
                too_large.append(record)
            self._newly_rejecting.add(record.topic)

    def _commit(self) -> None:
        while True:
            try:
                self._producer.commit_transaction(10)
                return
            except KafkaException as error:
                # A commit that timed out may have succeeded; repeating the call shows whether it did.
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
                    raise ProducerLost(f"{cause.str()}; and the abort failed: {error.args[0].str()}") from error
                time.sleep(0.05)
