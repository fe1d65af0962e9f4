"""Writes one batch after the other, and finds out what became of each, also when its producer is lost.

The loss of a producer is not the loss of the partitions: the broker checks the group membership in each transaction
that commits offsets. So another producer of the same transactional id goes on, after the committed offsets have told
whether the last batch was committed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.committed_offset import committed_offset
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.restart_backoff import RestartBackoff
from millstream.consumers.kafka.settlement import CommitAttempt, was_committed
from millstream.consumers.kafka.transaction import NOT_A_MEMBER, Commit, ProducerLost, TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread

log = structlog.get_logger(__name__)

MOST_LOSSES = 3
"""Producers lost one after the other without a committed transaction. Then another worker has taken the name, and this
one starts over."""

LEFT_AFTER_S = 10.0
"""How long a group may refuse the worker's commits before it counts as left. A rebalance takes less."""

UNANSWERED = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT)
"""Causes of an aborted transaction after which a broker may have left offsets of it pending."""

LONGEST_REST_S = 2.0
READ_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class WrittenBatch:
    """What became of a batch: it was committed after `took_s` seconds, or `aborted`."""

    records: list[OutgoingRecord]
    took_s: float
    aborted: TransactionAborted | None = None


class BatchWriter:
    """Writes records together with the offsets of `members`. Not thread-safe: the poll thread owns it."""

    def __init__(self, thread: TransactionThread, members: Sequence[GroupMember]) -> None:
        self.opened = False
        """Whether a producer was open before, so that every predecessor of the same name is fenced."""
        self._thread = thread
        self._members = members
        self._records: list[OutgoingRecord] = []
        self._commits: list[Commit] = []
        self._attempts: list[tuple[GroupMember, Assignment, TopicPartition]] = []
        self._writing = self._lost = self._unsettled = False
        self._began_at = self._opened_at = self._renew_at = self._rests_until = 0.0
        self._losses = self._aborts = 0
        self._refused_since: float | None = None
        self._backoff = RestartBackoff(0, 0.1, 5.0, 30)

    @property
    def pending_records(self) -> int:
        """How many records are being written."""
        return len(self._records)

    @property
    def busy(self) -> bool:
        """Whether it is unknown what becomes of a batch."""
        return self._writing

    def is_writing(self, assignment: Assignment) -> bool:
        """Whether it is unknown what becomes of a batch with offsets of this partition."""
        return any(each is assignment for _, each, _ in self._attempts)

    def opening(self) -> bool:
        """Whether a transactional producer is being opened, or the offsets are being read that tell about the last
        batch. Raises `ProducerLost` when the worker has to start over, and `KafkaException` when transactions are not
        allowed."""
        return self._unsettled or self._thread_opening()

    def may_begin(self) -> bool:
        """Whether `begin` may be called."""
        return not self._writing and not self.opening() and time.monotonic() >= self._rests_until

    def begin(self, records: list[OutgoingRecord], also: Sequence[Commit] = ()) -> None:
        """Start to write records and what has changed of the members' offsets, and `also` these commits. Does nothing
        without any of them."""
        commits = []
        self._attempts = []
        for member in self._members:
            if commit := member.commit():
                commits.append(commit)
                self._attempts += [
                    (member, member.assignments[each.topic, each.partition], each) for each in commit.offsets
                ]
        self._records, self._commits = records, [*commits, *also]
        if records or self._commits:
            self._writing, self._began_at = True, time.monotonic()
            self._thread.begin(TransactionBatch(records, self._commits))

    def advance(self) -> WrittenBatch | None:
        """Go on with what is under way; returns a batch of which the end is known. Blocks only while committed offsets
        are read. Raises `ProducerLost` when the worker has to start over, and `KafkaException` when transactions are
        not allowed."""
        now = time.monotonic()
        if now < self._renew_at:
            return None
        if self._lost:
            self._lost, self._opened_at = False, now
            self._thread.renew()
        if self._thread_opening():
            return None
        if self._unsettled:
            return self._settle()
        if not self._writing or not self._thread.done:
            return None
        return self._finish()

    def renew(self) -> None:
        """Open another producer, which ends what earlier ones have left pending. Only when `may_begin`."""
        self._lost = True
        self._renew_at = time.monotonic() + self._backoff.after(time.monotonic() - self._opened_at)

    def rest(self) -> None:
        """Begin nothing for a while that grows with each aborted transaction."""
        self._rests_until = time.monotonic() + min(LONGEST_REST_S, 0.05 * 2.0 ** min(self._aborts, 10))

    def _thread_opening(self) -> bool:
        if self._lost:
            return True
        try:
            opening = self._thread.opening()
            self.opened = self.opened or not opening
            return opening
        except ProducerLost as error:
            self._lose(error)
            return True

    def _finish(self) -> WrittenBatch | None:
        try:
            self._thread.finish()
        except TransactionAborted as error:
            return self._aborted(error)
        except ProducerLost as error:
            self._lose(error)
            if error.aborted is not None:
                return self._aborted(error.aborted)
            self._unsettled = True
            return None
        return self._committed()

    def _lose(self, error: ProducerLost) -> None:
        if error.aborted is None:
            self._losses += 1
            if self._losses >= MOST_LOSSES:
                raise error
        self.renew()
        log.warning("producer_lost", reason=str(error), action="another one is opened; jobs go on")

    def _settle(self) -> WrittenBatch | None:
        attempts = []
        for member, assignment, attempted in self._attempts:
            if not assignment.held:
                continue
            place = TopicPartition(attempted.topic, attempted.partition)
            found = committed_offset(member.consumer, place, READ_WITHIN_S)
            if isinstance(found, str):
                return None
            attempts.append(CommitAttempt(attempted, assignment.committed, found))
        committed = was_committed(attempts)
        self._unsettled = False
        if committed:
            return self._committed()
        if committed is None and attempts:
            raise ProducerLost("the committed offsets do not tell whether the last transaction was committed")
        return self._aborted(TransactionAborted("its producer was lost"))

    def _committed(self) -> WrittenBatch:
        for _, assignment, committed in self._attempts:
            assignment.committed = committed
        self._losses = self._aborts = 0
        self._refused_since = None
        return self._ended(None)

    def _aborted(self, error: TransactionAborted) -> WrittenBatch:
        self._aborts += 1
        if error.code in UNANSWERED:
            self.renew()
        for member in self._members:
            member.commit_again(self._commits)
        for _, assignment, _ in self._attempts:
            # It may be suspended, and so none of its member's now.
            assignment.uncommitted = True
        now = time.monotonic()
        if error.code not in NOT_A_MEMBER:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since > LEFT_AFTER_S:
            raise ProducerLost(f"a group has gone on without this worker: {error}") from error
        return self._ended(error)

    def _ended(self, aborted: TransactionAborted | None) -> WrittenBatch:
        ended = WrittenBatch(self._records, time.monotonic() - self._began_at, aborted)
        self._records, self._commits, self._attempts = [], [], []
        self._writing = False
        return ended
