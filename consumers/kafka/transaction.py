"""Writes records and offsets in one Kafka transaction: both become visible or neither does."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.topic_access import TopicAccess
from millstream.schemas import KafkaConnection
from millstream.schemas.denial import named

log = structlog.get_logger(__name__)

OPEN_WITHIN_S = 2.0
CALL_S = 10.0
"""The time-out of one call of the client."""

ALONE_FROM_BYTES = 4096
"""After a rejection for size, records from this size on are sent one by one, smaller ones together."""

_PERMANENT_ERRORS = (
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
)


_TOPIC_ERRORS = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    # Records without a leader to send them to time out, and the transaction says only that some did.
    KafkaError._INCONSISTENT,
    KafkaError._MSG_TIMED_OUT,
)


NOT_A_MEMBER = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.STALE_MEMBER_EPOCH,
)
"""The group of an offset has gone on without the member."""


class TransactionAborted(RuntimeError):
    """Nothing of the batch was written; writing it again is safe.

    `code`: of the Kafka error that is the cause. `too_large`: the records that the broker rejected for their size, as
    far as known; only the write after an aborted one finds out which they are. `unwritable`: topics of the batch that
    cannot be written, each with its cause.
    """

    def __init__(
        self,
        reason: str,
        code: int = 0,
        too_large: Sequence[OutgoingRecord] = (),
        unwritable: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.too_large = too_large
        self.unwritable = unwritable or {}


class ProducerLost(RuntimeError):
    """The transactional producer is unusable: fenced by its successor, or in a fatal state.

    `aborted`: why the last batch was not written, when that is certain. Otherwise it is unknown until another producer
    of the same transactional id is open and the group's committed offsets are read.
    """

    def __init__(self, reason: str, aborted: TransactionAborted | None = None) -> None:
        super().__init__(reason)
        self.aborted = aborted


@dataclass(frozen=True, slots=True)
class Commit:
    """Offsets of one consumer group, with the group's metadata at the time they were read from the ledgers."""

    offsets: Sequence[TopicPartition]
    group: Any


class TransactionWriter:
    """A transactional producer. Not thread-safe, but for `waiting_since` and `abandon`.

    A record that no broker took within half of `transaction_timeout_ms` fails its transaction.
    """

    def __init__(self, connection: KafkaConnection, transactional_id: str, transaction_timeout_ms: int) -> None:
        self.waiting_since = time.monotonic()
        """When the call of the client that is under way began, in seconds of the monotonic clock."""
        self._abandoned = False
        self._one_by_one = False
        self._rejecting: set[str] = set()
        self._newly_rejecting: set[str] = set()
        self._access = TopicAccess(connection)
        self._user = connection.user
        self._transactional_id = transactional_id
        self._producer = Producer(
            connection.producer(
                transactional_id=transactional_id,
                transaction_timeout_ms=transaction_timeout_ms,
                message_timeout_ms=transaction_timeout_ms // 2,
                linger_ms=0,
                queue_buffering_max_messages=500_000,
            )
        )

    def abandon(self) -> None:
        """Give up what is being written or opened, as soon as the client's call returns: another producer takes
        over."""
        self._abandoned = True

    def open(self, topic: str, keep_waiting: Callable[[], bool] = lambda: True) -> bool:
        """Fence every older producer of this transactional id and abort what it left open.

        Blocks until a coordinator answers. `topic`: one that the client may read metadata of. `keep_waiting` is called
        every few seconds; when it returns False, so does this. Raises `ProducerLost` when the broker rejects the
        request, and `KafkaException` when it always will: for lack of rights, or because of a setting.
        """
        # librdkafka waits for half a second after a transactional request that finds no connection, so connect first.
        with suppress(KafkaException):
            self._producer.list_topics(topic, OPEN_WITHIN_S)
        while keep_waiting() and not self._abandoned:
            self.waiting_since = time.monotonic()
            try:
                self._producer.init_transactions(OPEN_WITHIN_S)
                return True
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.code() in _PERMANENT_ERRORS:
                    raise named(error, self._user, "Write", f"transactional-id {self._transactional_id}") from error
                if not cause.retriable():
                    raise ProducerLost(cause.str()) from error
                log.warning("transaction_coordinator_unavailable", reason=cause.str())
                self._producer.poll(0)
        return False

    def end_pending(self, commits: Sequence[Commit]) -> None:
        """Abort a transaction with these commits, which ends offsets of the groups that an earlier transaction of this
        transactional id has left pending. Raises `ProducerLost`."""
        try:
            self.waiting_since = time.monotonic()
            self._producer.begin_transaction()
            for commit in commits:
                self.waiting_since = time.monotonic()
                self._producer.send_offsets_to_transaction(list(commit.offsets), commit.group, CALL_S)
            self._abort()
        except KafkaException as error:
            raise ProducerLost(error.args[0].str(), TransactionAborted(error.args[0].str())) from error

    def write(self, records: Sequence[OutgoingRecord], commits: Sequence[Commit]) -> None:
        """Write the batch. When it returns, records and offsets are committed. Waits while no broker answers.

        Raises `TransactionAborted` or `ProducerLost`.
        """
        producer = self._producer
        too_large: list[OutgoingRecord] = []
        try:
            self.waiting_since = time.monotonic()
            producer.begin_transaction()
            if self._one_by_one:
                self._produce_one_by_one(records, too_large)
            else:
                self._produce(records)
            for commit in commits:
                self.waiting_since = time.monotonic()
                producer.send_offsets_to_transaction(list(commit.offsets), commit.group, CALL_S)
            self._commit()
            self._one_by_one = False
            self._rejecting.clear()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.fatal() or cause.code() == KafkaError._FENCED:
                raise ProducerLost(cause.str()) from error
            aborted = TransactionAborted(cause.str(), cause.code(), too_large)
            try:
                self._abort()
            except KafkaException as fatal:
                # The broker aborts it. So it goes for a topic that was deleted: the transaction had not begun there.
                reason = f"{cause.str()}; and the abort failed: {fatal.args[0].str()}"
                aborted.unwritable = self._unwritable(cause, records)
                raise ProducerLost(reason, aborted) from error
            aborted.unwritable = self._unwritable(cause, records)
            self._one_by_one = True
            self._rejecting |= self._newly_rejecting
            self._newly_rejecting.clear()
            raise aborted from error

    def _unwritable(self, cause: KafkaError, records: Sequence[OutgoingRecord]) -> dict[str, str]:
        """The topics of the batch that cannot be written, where the cause may be one."""
        if cause.code() not in _TOPIC_ERRORS:
            return {}
        topics = {each.topic for each in records}
        for topic in topics:
            # Once a topic was missing, the client sends nothing to it until it reads its metadata again.
            with suppress(KafkaException):
                self._producer.list_topics(topic, OPEN_WITHIN_S)
        return self._access.ask(topics).result() or {}

    def _produce(self, records: Sequence[OutgoingRecord]) -> None:
        """Enqueue all records, one call per topic: each call may have to wait for the interpreter's lock."""
        by_topic: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for topic, key, value, *_ in records:
            by_topic[topic].append({"value": value, "key": key})
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
                self.waiting_since = time.monotonic()
                self._producer.flush(CALL_S)
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
        # A commit that timed out may have succeeded; repeating the call shows whether it did.
        self._repeat(self._producer.commit_transaction)

    def _abort(self) -> None:
        self._repeat(self._producer.abort_transaction)

    def _repeat(self, call: Callable[[float], None]) -> None:
        """Call until there is an answer that repeating does not change. Raises `ProducerLost` when abandoned."""
        while True:
            self.waiting_since = time.monotonic()
            try:
                call(CALL_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                if self._abandoned:
                    raise ProducerLost(f"abandoned: {error.args[0].str()}") from error
                # The client's log lines are written while it is polled.
                self._producer.poll(0)
                time.sleep(0.05)
