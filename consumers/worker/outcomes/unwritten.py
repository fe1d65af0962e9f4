"""What waits to be written, and what an aborted transaction means for it. Pure.

A record that can never be written holds up its own job and nothing else: the records of its offset are parked, and the
others are written. Which record it is, the cause tells, or writing ever smaller parts. The records of all jobs need one
topic, that of the events: while it cannot be written, no job can end.
"""

from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import KafkaError

from millstream.consumers.kafka.batch_limit import BatchLimit
from millstream.consumers.kafka.outgoing import OutgoingRecord, total_size
from millstream.consumers.kafka.transaction import NOT_A_MEMBER, TransactionAborted
from millstream.consumers.worker.outcomes.outgoing_batch import OutgoingBatch, Place, place
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.consumers.worker.outcomes.parked_outcomes import ParkedOutcomes
from millstream.schemas.denial import RIGHTS

log = structlog.get_logger(__name__)

REFUSED = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
)
"""Errors that writing the same record again does not change."""

NOT_ALLOWED = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
"""Errors that every transaction ends with, until the right is given."""

PASSING = (
    KafkaError.NO_ERROR,
    *NOT_A_MEMBER,
    *NOT_ALLOWED,
    # Of offsets: topics that must not be written are told apart.
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
)
"""Errors that say nothing about the records."""

TRIES = 3
"""How often a record fails alone, for a cause that may pass, before it is parked."""

WRONG_CLOCK = "the broker refuses the timestamps of this host: its clock is wrong"


class UnwrittenRecords:
    """The records of all that happened and is not written. Not thread-safe: the poll thread owns it.

    `events_topic`: the topic that every outcome needs.
    """

    def __init__(self, oversized: Oversized, limit: BatchLimit, events_topic: str) -> None:
        self.batch = OutgoingBatch()
        self.parked = ParkedOutcomes()
        self.unwritable: dict[str, str] = {}
        """Topics that cannot be written, with the cause."""
        self._oversized = oversized
        self._limit = limit
        self.events_topic = events_topic
        self._alone: Place | None = None
        self._aborts = 0
        self._told: dict[str, str] = {}
        self._denied = False

    @property
    def stopped(self) -> bool:
        """Whether nothing can be written, because no job can end."""
        return self.events_topic in self.unwritable

    @property
    def denied(self) -> bool:
        """Whether nothing can be written for want of a right."""
        return self._denied or RIGHTS in self.unwritable.get(self.events_topic, "")

    def take(self, now: float) -> list[OutgoingRecord]:
        """Remove what the next transaction holds."""
        self.parked.drop_released()
        if due := self.parked.due(now):
            self._alone = place(due[0])
            self.batch.put_first(due)
            return self.batch.take(1, 0)
        self._alone = None
        if self.unwritable:
            self._park_unwritable(now)
        return self.batch.take(self._limit.records, self._limit.bytes)

    def committed(self, records: list[OutgoingRecord], took_s: float) -> None:
        """The transaction with these records was committed."""
        self._aborts = 0
        self._denied = False
        if took_s > self._limit.slow_after_s:
            self._limit.slow(total_size(records))
        else:
            self._limit.fast()
        self.parked.forget_written(records)
        if self._told:
            self._told = {topic: cause for topic, cause in self._told.items() if topic in self.unwritable}

    def aborted(self, records: list[OutgoingRecord], error: TransactionAborted, now: float) -> None:
        """The transaction with these records was aborted: decide what becomes of them."""
        self._aborts += 1
        self._denied = error.code in NOT_ALLOWED
        if error.too_large:
            fitting = self._oversized.fitting(records, error.too_large)
            if fitting != records:
                self.batch.put_back(fitting)
                return
        if error.unwritable or error.code == KafkaError.INVALID_TIMESTAMP:
            self.batch.put_back(records)
            self._stop_writing(error.unwritable or {self.events_topic: WRONG_CLOCK})
        elif self._alone is not None or (_is_one(records) and self._refused_alone(error)):
            self._refuse(place(records[0]), records, str(error), now)
        else:
            self.batch.put_back(records)
            if error.code not in PASSING and error.code != KafkaError.MSG_SIZE_TOO_LARGE:
                self._limit.aborted(len(records), total_size(records))

    def write_again(self, topics: set[str]) -> None:
        """These topics can be written again."""
        for topic in topics & self.unwritable.keys():
            log.info("topic_writable_again", topic=topic)
            del self.unwritable[topic]
            for records in self.parked.release(topic):
                self.batch.put_first(records)

    def tell_again(self) -> None:
        """Log once more which topics cannot be written."""
        self._told.clear()
        self._stop_writing(dict(self.unwritable))

    def _refused_alone(self, error: TransactionAborted) -> bool:
        if error.code == KafkaError.MSG_SIZE_TOO_LARGE and not error.too_large:
            # The next attempt shows which record it is, and another may be written in its place.
            return False
        return error.code in REFUSED or (error.code not in PASSING and self._aborts >= TRIES)

    def _refuse(self, refused: Place | None, records: list[OutgoingRecord], reason: str, now: float) -> None:
        topics = sorted({each.topic for each in records})
        if refused is None:
            log.error("event_dropped", topic=topics[0], reason=reason, consequence="readers do not see this event")
            return
        assignment, offset = refused
        log.error(
            "outcome_parked",
            topics=topics,
            request_topic=assignment.topic,
            partition=assignment.partition,
            offset=offset,
            reason=reason,
            consequence="its job has no outcome until the records are accepted; it does not run again meanwhile",
        )
        assignment.reopen([offset])
        self.parked.park(refused, records, now)

    def _stop_writing(self, unwritable: Mapping[str, str]) -> None:
        self.unwritable.update(unwritable)
        for topic, reason in unwritable.items():
            if self._told.get(topic) == reason:
                continue
            self._told[topic] = reason
            consequence = (
                "no job can end; the worker takes no more until the topic can be written"
                if topic == self.events_topic
                else "outcomes that need it wait, all others are written"
            )
            log.error("topic_unwritable", topic=topic, reason=reason, consequence=consequence)

    def _park_unwritable(self, now: float) -> None:
        for here, records in self.batch.remove(lambda each: each.topic in self.unwritable).items():
            topic = next(each.topic for each in records if each.topic in self.unwritable)
            self.parked.park(here, records, now, topic)


def cannot_be_written(records: Sequence[OutgoingRecord], error: TransactionAborted) -> bool:
    """Whether an aborted transaction tells that records, which were in it, cannot be written now."""
    refused = error.code in REFUSED and error.code != KafkaError.MSG_SIZE_TOO_LARGE
    return refused or any(each.topic in error.unwritable for each in records)


def _is_one(records: list[OutgoingRecord]) -> bool:
    """Whether these are the records of one offset, or one record that belongs to none."""
    return len(records) == 1 or (bool(records) and place(records[0]) is not None and len(set(map(place, records))) == 1)
