"""What happens to jobs when partitions are assigned, revoked or lost.

Revoked: what has not started is left to the next owner; outcomes are committed and the partition is given back. What
runs goes on here for a grace period, announced to the next owner (`retained_jobs.py`), so that it does not run twice
and no other job waits for it. Lost: the group may have gone on without this worker, so nothing more of the partition is
written, and what runs is cancelled unless the partition is assigned again soon (`lost_partitions.py`).
"""

import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.handover_groups import SLOTS, Announced, AnnouncementUnknown, HandoverGroups
from millstream.consumers.kafka.running_elsewhere import RunningElsewhere
from millstream.consumers.kafka.transaction import Commit, ProducerLost
from millstream.consumers.worker.awaited_jobs import AwaitedJobs
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.lost_partitions import LostPartitions
from millstream.consumers.worker.retained_jobs import RetainedJobs
from millstream.consumers.worker.status import WorkerStatus
from millstream.consumers.worker.takeover import Takeover

log = structlog.get_logger(__name__)

POLL_S = 0.005
FINISH_WITHIN_S = 0.2
"""How long a partition is held for jobs that are about to finish anyway."""

GIVE_BACK_WITHIN_S = 2.0
OPENED_WITHIN_S = 10.0
"""How long an assignment waits for the transactional producer. Longer would hold up the next rebalance of the group."""


class Handover:
    """The rebalance listener of a worker's group members. Runs on the poll thread.

    `cancel_lost` ends what runs for partitions that are no longer held. `may_announce`: whether every worker
    understands announcements. `handover_grace_s`: how long jobs go on here after their partition was given back;
    `revoke_grace_s`: how long it is held for jobs that cannot be announced.
    """

    def __init__(
        self,
        status: WorkerStatus,
        in_flight: InFlightJobs,
        commit_loop: CommitLoop,
        groups: HandoverGroups,
        retained: RetainedJobs,
        awaited: AwaitedJobs,
        takeover: Takeover,
        lost: LostPartitions,
        cancel_lost: Callable[[], None],
        *,
        revoke_grace_s: float,
        handover_grace_s: float,
        may_announce: Callable[[], bool] = lambda: True,
    ) -> None:
        self._status = status
        self._in_flight = in_flight
        self._commit_loop = commit_loop
        self._groups = groups
        self._retained = retained
        self._awaited = awaited
        self._takeover = takeover
        self._lost = lost
        self._cancel_lost = cancel_lost
        self._revoke_grace_s = revoke_grace_s
        self._handover_grace_s = handover_grace_s
        self._may_announce = may_announce

    @property
    def retained(self) -> int:
        """How many jobs go on here for partitions that were given back."""
        return len(self._retained)

    @property
    def idle(self) -> bool:
        """Whether `run_once` has nothing to do: no job goes on here or elsewhere after its partition was handed over,
        and no partition is held back or lost."""
        return not (self._retained or self._awaited or self._lost or self._status.held_back)

    def run_once(self) -> None:
        """Write outcomes of what goes on here for other workers, ask what others still run for this one, and start
        partitions that were held back. Does not block."""
        self._retained.run_once()
        self._awaited.run_once()
        self._takeover.run_once()
        if self._lost and (dropped := self._lost.release_expired()):
            log.warning("lost_partitions_dropped", partitions=[f"{each.topic}[{each.partition}]" for each in dropped])
            self._drop_released()

    def retain_all(self, members: Sequence[GroupMember], grace_s: float) -> None:
        """Announce what runs, so that it can go on for `grace_s` seconds when the partitions are given back. Nothing
        else of them starts. Raises `ProducerLost`."""
        for member in members:
            self._retain(member, list(member.assignments.values()), grace_s)

    def give_back_all(self, members: Sequence[GroupMember]) -> None:
        """Give every partition back, before the members leave their groups."""
        self._lost.release_all()
        self._takeover.drop_all()
        for member in members:
            self._release(member, [TopicPartition(*each) for each in member.assignments])

    def cancel_retained(self) -> None:
        """Cancel what goes on here for partitions that were given back: the grace period is over."""
        self._retained.cancel()

    def release_all(self, members: Sequence[GroupMember]) -> None:
        """The session has ended: nothing of any partition starts or is written any more. Lost ones are among them: a
        job of theirs that still looked live would keep its ordering key when the executor drops what waits."""
        self._lost.release_all()
        for member in members:
            for assignment in member.assignments.values():
                assignment.release()

    def close(self) -> None:
        """Give back what goes on here for other workers."""
        self._retained.close(GIVE_BACK_WITHIN_S)

    def on_assign(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Take the partitions over. Raises `ProducerLost` when the transactional producer cannot be opened."""
        if not self._await_open():
            member.assign([])
            return
        self._lost.came_back(member.group, {(each.topic, each.partition) for each in partitions})
        self._takeover.take(member, partitions)

    def on_revoke(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Commit, give the partitions back, and let running jobs go on."""
        leaving = [found for each in partitions if (found := _assignment(member, each))]
        self._retain(member, leaving, self._handover_grace_s)
        if not all(each.retained for each in self._in_flight.started(leaving)):
            self._await_finished(leaving, self._revoke_grace_s)
            self._commit(leaving)
        self._unassign(member, partitions)
        log.info("partitions_revoked", group=member.group, partitions=_names(partitions))

    def on_lost(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Keep the partitions for a while: most members come back (`lost_partitions.py`)."""
        self._lost.lost_again(member.group)
        for each in partitions:
            if (assignment := member.remove((each.topic, each.partition))) is not None:
                self._lost.suspend(member.group, assignment)
        member.unassign(self._takeover.drop(member, partitions))
        log.warning("partitions_lost", group=member.group, partitions=_names(partitions))

    def drop(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        """Give up partitions of which nothing can be written, with what runs of them."""
        self._unassign(member, partitions)
        log.warning("partitions_dropped", group=member.group, partitions=_names(partitions))

    def start_over(self, member: GroupMember, assignment: Assignment, made_again: bool) -> None:
        """The log of a partition is not what it was: drop its jobs, and take it over as if it had just been assigned.
        `made_again`: the topic is another one, so nothing that was committed says anything about it."""
        partition = TopicPartition(*assignment.topic_partition)
        log.error(
            "log_changed",
            topic=assignment.topic,
            partition=assignment.partition,
            next_offset=assignment.next_offset,
            action="its jobs are dropped and it is read anew",
        )
        self._unassign(member, [partition])
        self._takeover.take_anew(member, partition, made_again)

    def _unassign(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        self._lost.give_up((each.topic, each.partition) for each in partitions)
        self._release(member, partitions)
        member.unassign(self._takeover.drop(member, partitions))

    def _await_open(self) -> bool:
        """Wait until the transactional producer is open, so that nothing starts before a predecessor of the same name
        is fenced; False when the worker is to stop."""
        deadline = time.monotonic() + OPENED_WITHIN_S
        while self._commit_loop.opening() and self._status.keep_waiting():
            if time.monotonic() > deadline:
                raise ProducerLost(f"the transactional producer did not open within {OPENED_WITHIN_S:g} s")
            time.sleep(POLL_S)
        return not self._status.stopping.is_set()

    def _announced(self, partitions: list[TopicPartition]) -> Announced:
        """What is announced for partitions that this worker is giving back. Waits until it can be read."""
        while True:
            try:
                return self._groups.ask(partitions).result()
            except AnnouncementUnknown as error:
                # Usually the marker of the transaction that has just been committed is on its way.
                reason = str(error)
            if not self._keep_alive():
                raise ProducerLost(f"stopped while waiting for what was announced: {reason}")
            self._commit_loop.run_once()
            time.sleep(POLL_S)

    def _retain(self, member: GroupMember, leaving: list[Assignment], grace_s: float) -> None:
        """Start nothing more of these, commit, and announce what goes on here for `grace_s` seconds."""
        for assignment in leaving:
            assignment.may_start = False
        self._await_finished(leaving, FINISH_WITHIN_S)
        self._commit_loop.collect()
        announced = self._announce(leaving, grace_s) if grace_s else []
        self._commit(leaving, [self._groups.commit(slot, [record]) for _, slot, record in announced])
        self._keep(announced, grace_s)

    def _await_finished(self, leaving: list[Assignment], within_s: float) -> None:
        """Wait for what runs and does not go on here."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and not all(each.retained for each in self._in_flight.started(leaving)):
            self._commit_loop.run_once()
            time.sleep(POLL_S)

    def _commit(self, leaving: list[Assignment], also: Sequence[Commit] = ()) -> None:
        self._commit_loop.write_all(also)
        if any(each.uncommitted for each in leaving):
            # The transaction was aborted: try once more; if that fails too, these jobs run again elsewhere.
            self._commit_loop.write_all(also)

    def _announce(self, leaving: list[Assignment], grace_s: float) -> list[tuple[Assignment, int, RunningElsewhere]]:
        """What to announce, each with its partition and slot."""
        running: dict[Assignment, list[Execution]] = {}
        for execution in self._in_flight.started(leaving):
            running.setdefault(execution.assignment, []).append(execution)
        if not running or not self._may_announce() or not self._retained.open(self._keep_alive):
            return []
        announced = []
        for assignment, executions in running.items():
            slot = self._awaited.free_slot(assignment)
            checkpoint = assignment.ledger.checkpoint()
            if slot is not None and checkpoint is not None:
                record = self._retained.announcement(assignment, checkpoint.offset, executions, grace_s)
                assignment.announced = assignment.uncommitted = True
                announced.append((assignment, slot, record))
        return announced

    def _keep_alive(self) -> bool:
        """A drain waits for the producer like a rebalance does."""
        self._status.keep_waiting()
        return not self._status.stop_now.is_set()

    def _keep(self, announced: list[tuple[Assignment, int, RunningElsewhere]], grace_s: float) -> None:
        """Let what was announced go on, if the broker has it: not every broker keeps the text of a commit."""
        if not announced:
            return
        if any(assignment.uncommitted for assignment, _, _ in announced):
            # It may be written yet. The next owners learn that nothing goes on under its id.
            self._retained.close(GIVE_BACK_WITHIN_S)
            return
        found = self._announced([TopicPartition(*assignment.topic_partition) for assignment, _, _ in announced])
        for assignment, slot, record in announced:
            if found.get(assignment.topic_partition, [None] * SLOTS)[slot] == record:
                running = self._in_flight.started([assignment])
                self._retained.retain(slot, record, running, grace_s)

    def _release(self, member: GroupMember, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            assignment = member.remove((each.topic, each.partition))
            if assignment is not None:
                assignment.release()
        self._drop_released()

    def _drop_released(self) -> None:
        self._in_flight.drop_released()
        self._cancel_lost()


def _assignment(member: GroupMember, partition: TopicPartition) -> Assignment | None:
    return member.assignments.get((partition.topic, partition.partition))


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{each.topic}[{each.partition}]" for each in partitions]
