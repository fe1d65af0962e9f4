"""What happens to jobs when partitions are assigned, revoked or lost.

Revoked: what has not started is left to the next owner; what runs may finish within a grace period, so that it does not
run twice; then outcomes are committed and the partition is given back. Lost: the group went on without this worker, so
nothing more of the partition may be written and what runs is cancelled.
"""

import time
from collections.abc import Callable

import structlog
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.committed_offsets import committed_offsets
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.offset_ledger import Checkpoint, OffsetLedger
from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.status import WorkerStatus

log = structlog.get_logger(__name__)

POLL_S = 0.005
OPENED_WITHIN_S = 10.0
"""How long an assignment waits for the transactional producer. Longer would hold up the next rebalance of the group."""


class Handover:
    """The rebalance listener of a worker's group members. Runs on the poll thread.

    `cancel_lost` ends what runs for partitions that are no longer held. After `close` rebalances have no effect.
    """

    def __init__(
        self,
        status: WorkerStatus,
        in_flight: InFlightJobs,
        commit_loop: CommitLoop,
        cancel_lost: Callable[[], None],
        revoke_grace_s: float,
    ) -> None:
        self._status = status
        self._in_flight = in_flight
        self._commit_loop = commit_loop
        self._cancel_lost = cancel_lost
        self._revoke_grace_s = revoke_grace_s
        self._closed = False

    def close(self) -> None:
        """The session has ended: nothing is read or written for the partitions any more."""
        self._closed = True

    def on_assign(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Start each partition from its commit: the offset, and what had finished above it. Raises `ProducerLost` when
        the transactional producer cannot be opened."""
        if self._closed or not self._await_open():
            return
        member.assign([self._resumed(member, each) for each in self._committed(member, partitions)])
        log.info("partitions_assigned", group=member.group, partitions=_names(partitions))

    def on_revoke(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Let running jobs finish within the grace period, commit, and give the partitions back."""
        if self._closed:
            return
        self._finish_running([found for each in partitions if (found := _assignment(member, each))])
        self._release(member, partitions)
        member.unassign(partitions)
        log.info("partitions_revoked", group=member.group, partitions=_names(partitions))

    def on_lost(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Drop the partitions: their jobs run again on another worker."""
        if self._closed:
            return
        self._release(member, partitions)
        member.unassign(partitions)
        log.warning("partitions_lost", group=member.group, partitions=_names(partitions))

    def _await_open(self) -> bool:
        """Wait until the transactional producer is open, so that nothing starts before a predecessor of the same name
        is fenced; False when the worker is to stop."""
        deadline = time.monotonic() + OPENED_WITHIN_S
        while self._commit_loop.opening() and self._status.keep_waiting():
            if time.monotonic() > deadline:
                raise ProducerLost(f"the transactional producer did not open within {OPENED_WITHIN_S:g} s")
            time.sleep(POLL_S)
        return not self._status.stopping.is_set()

    def _resumed(self, member: GroupMember, committed: TopicPartition) -> Assignment:
        lane = member.lanes[committed.topic]
        assignment = Assignment(
            committed.topic, committed.partition, lane, member.overflow, rebalance=member.rebalances
        )
        if committed.offset >= 0:
            assignment.ledger = OffsetLedger(Checkpoint(committed.offset, committed.metadata or ""))
            assignment.first_offset = committed.offset
        return assignment

    def _committed(self, member: GroupMember, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The group's commits. Waits while the open transaction of a dead worker holds them back; meanwhile what runs
        for other partitions is written."""
        last_reason = ""

        def keep_waiting(reason: str) -> bool:
            nonlocal last_reason
            last_reason = reason
            if not self._status.keep_waiting():
                return False
            log.warning("committed_offsets_unavailable", group=member.group, reason=reason)
            self._commit_loop.run_once()
            return True

        committed = committed_offsets(member.consumer, partitions, keep_waiting)
        if committed is None:
            raise ProducerLost(f"stopped while waiting for the offsets of group {member.group}: {last_reason}")
        return committed

    def _finish_running(self, leaving: list[Assignment]) -> None:
        for assignment in leaving:
            assignment.may_start = False
        deadline = time.monotonic() + self._revoke_grace_s
        while self._in_flight.any_started(leaving) and time.monotonic() < deadline:
            self._commit_loop.run_once()
            time.sleep(POLL_S)
        self._commit_loop.write_all()
        if any(each.uncommitted for each in leaving):
            # The transaction was aborted: try once more; if that fails too, these jobs run again elsewhere.
            self._commit_loop.write_all()

    def _release(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            assignment = member.remove((each.topic, each.partition))
            if assignment is not None:
                assignment.release()
        self._in_flight.drop_released()
        self._cancel_lost()


def _assignment(member: GroupMember, partition: TopicPartition) -> Assignment | None:
    return member.assignments.get((partition.topic, partition.partition))


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{each.topic}[{each.partition}]" for each in partitions]
