"""Takes over partitions: finds out where each was left, and starts to read it there.

A partition of which that is unknown, because an open transaction or an absent coordinator hides its commit, is held
back: it is asked for again every half second, and no other partition waits for it. To start it anywhere else meanwhile
would lose jobs or run them twice.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from confluent_kafka import OFFSET_INVALID, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.positions import Answer, Position, Positions
from millstream.consumers.kafka.resume import Surprise, log_out_of_range, start_at, start_of
from millstream.consumers.worker.awaited_jobs import AwaitedJobs
from millstream.consumers.worker.lost_partitions import LostPartitions
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas.denial import is_denial

log = structlog.get_logger(__name__)

ANSWER_WITHIN_S = 0.1
"""How long a rebalance waits for the positions of its partitions, which are usually there within milliseconds. Those
that come later are started by the poll loop."""

ASK_INTERVAL_S = 0.5
TELL_INTERVAL_S = 5.0
END_PENDING_AFTER_S = 2.0
UNDECIDED = "its last transaction is under way"


@dataclass(slots=True)
class _HeldBack:
    """The partitions of one member whose positions are unknown, and why. `answer`: the question under way."""

    reasons: dict[tuple[str, int], str] = field(default_factory=dict)
    answer: Answer | None = None
    asked_at: float = 0.0
    since: float = field(default_factory=time.monotonic)
    told_at: float = field(default_factory=time.monotonic)


class Takeover:
    """Starts the partitions that the groups assign. Not thread-safe: the poll thread owns it.

    `lost`: partitions that were lost and may be resumed; `on_resumed` is called after some were resumed or dropped.
    `hold` pauses new assignments that must not be read yet. `end_pending` ends offsets of this worker's transactions
    that a broker left pending. `without_commit` returns where to start a partition that
    holds records and has no commit, or raises. `on_missing` is called with the number of offsets that were deleted
    before they were read.
    """

    def __init__(
        self,
        status: WorkerStatus,
        positions: Positions,
        awaited: AwaitedJobs,
        lost: LostPartitions,
        hold: Callable[[GroupMember, list[Assignment]], None],
        on_resumed: Callable[[], None],
        end_pending: Callable[[], None],
        without_commit: Callable[[str, Position], int] = lambda group, position: 0,
        on_missing: Callable[[int], None] = lambda missing: None,
    ) -> None:
        self._status = status
        self._positions = positions
        self._awaited = awaited
        self._lost = lost
        self._hold = hold
        self._on_resumed = on_resumed
        self._end_pending = end_pending
        self._without_commit = without_commit
        self._on_missing = on_missing
        self._held_back: dict[GroupMember, _HeldBack] = {}
        self._changed: dict[tuple[str, int], bool] = {}

    def take(self, member: GroupMember, partitions: Sequence[TopicPartition]) -> None:
        """Start these as soon as their positions are known. Blocks for at most `ANSWER_WITHIN_S` seconds. Raises what
        `without_commit` raises."""
        held_back = self._held_back.setdefault(member, _HeldBack())
        held_back.reasons |= {(each.topic, each.partition): "" for each in partitions}
        held_back.since = time.monotonic()
        self._ask(member, held_back)
        self._start_known(member, held_back, ANSWER_WITHIN_S)

    def drop(self, member: GroupMember, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """The group takes these away; returns those that had been started."""
        held_back = self._held_back.get(member)
        waiting = held_back.reasons if held_back else {}
        started = [each for each in partitions if (each.topic, each.partition) not in waiting]
        for each in partitions:
            waiting.pop((each.topic, each.partition), None)
        return started

    def take_anew(self, member: GroupMember, partition: TopicPartition, made_again: bool) -> None:
        """Start a partition whose log is not what it was. `made_again`: it is known to be another log."""
        self._changed[partition.topic, partition.partition] = made_again
        held_back = self._held_back.setdefault(member, _HeldBack())
        held_back.reasons[partition.topic, partition.partition] = "its log has changed"

    def drop_all(self) -> None:
        """The members leave their groups: nothing starts any more."""
        self._held_back.clear()
        self._status.held_back = {}

    def run_once(self) -> None:
        """Ask again for what is unknown, and start what is known by now."""
        now = time.monotonic()
        for member, held_back in self._held_back.items():
            if not held_back.reasons:
                continue
            if held_back.answer is None and now - held_back.asked_at >= ASK_INTERVAL_S:
                self._ask(member, held_back)
            elif held_back.answer is not None and held_back.answer.done:
                self._start_known(member, held_back, 0.0)
            may_end = not all(map(is_denial, held_back.reasons.values()))
            if held_back.reasons and may_end and now - held_back.since > END_PENDING_AFTER_S:
                # A broker may have left offsets of a transaction pending that was aborted.
                held_back.since = now
                self._end_pending()
            if held_back.reasons and now - held_back.told_at >= TELL_INTERVAL_S:
                held_back.told_at = now
                log.warning("partitions_held_back", group=member.group, partitions=_named(held_back.reasons))
        waiting: dict[str, str] = {}
        for held_back in self._held_back.values():
            waiting |= _named(held_back.reasons)
        self._status.held_back = waiting

    def _ask(self, member: GroupMember, held_back: _HeldBack) -> None:
        held_back.asked_at = time.monotonic()
        undecided = {each: UNDECIDED for each in held_back.reasons if self._lost.undecided(each)}
        held_back.reasons |= undecided
        places = [TopicPartition(*each) for each in held_back.reasons if each not in undecided]
        if not places:
            return
        held_back.answer = self._positions.ask(member.consumer, places, self._changed.keys())

    def _start_known(self, member: GroupMember, held_back: _HeldBack, within_s: float) -> None:
        if held_back.answer is None:
            # Whatever a rebalance leaves unassigned the client assigns by itself, and would read.
            member.assign([])
            return
        answer = held_back.answer.known(within_s)
        if held_back.answer.done:
            held_back.answer = None
        # Some may have been taken away since they were asked for.
        positions = [each for each in answer.positions if (each.topic, each.partition) in held_back.reasons]
        some_lost = len(self._lost) > 0
        kept = [found for each in positions if (found := self._resumed(member, each))]
        known = {each.topic_partition for each in kept}
        new = [each for each in positions if (each.topic, each.partition) not in known]
        assignments = [self._assignment(member, each) for each in new]
        for each in positions:
            self._changed.pop((each.topic, each.partition), None)
            del held_back.reasons[each.topic, each.partition]
        held_back.reasons |= {key: reason for key, reason in answer.unknown.items() if key in held_back.reasons}
        self._awaited.resume(assignments, {(each.topic, each.partition): each.announced for each in new})
        member.assign([*kept, *assignments])
        self._hold(member, assignments)
        if some_lost:
            self._on_resumed()
        if names := [f"{each.topic}[{each.partition}]" for each in (*kept, *assignments)]:
            log.info("partitions_assigned", group=member.group, partitions=names)

    def _resumed(self, member: GroupMember, position: Position) -> Assignment | None:
        """The assignment of a partition that was lost a moment ago and that nobody else has had since."""
        return self._lost.resume(_commit(position), member.rebalances)

    def _assignment(self, member: GroupMember, position: Position) -> Assignment:
        made_again = self._changed.get((position.topic, position.partition), False)
        start = start_of(position, self._positions.metadata_limit, made_again=made_again)
        if start.surprise is Surprise.NO_COMMIT:
            start = start_at(self._without_commit(member.group, position), position, self._positions.metadata_limit)
        elif start.surprise is not None:
            log_out_of_range(
                TopicPartition(position.topic, position.partition, start.offset),
                start.surprise,
                start.missing,
                committed=position.committed,
                next_offset=position.committed,
                log_range=position.log,
            )
            self._on_missing(start.missing)
        assignment = Assignment(position.topic, position.partition, member.lanes[position.topic], member.overflow)
        assignment.cluster_id = position.cluster_id
        assignment.ledger = start.ledger
        assignment.first_offset = start.offset
        assignment.rebalance = member.rebalances
        assignment.committed = _commit(position)
        # Later a commit that is not there must mean that it was lost, not that nothing was ever read.
        assignment.uncommitted = position.committed is None or start.surprise is not None
        return assignment


def _commit(position: Position) -> TopicPartition:
    offset = OFFSET_INVALID if position.committed is None else position.committed
    return TopicPartition(position.topic, position.partition, offset, position.metadata)


def _named(reasons: Mapping[tuple[str, int], str]) -> dict[str, str]:
    return {f"{topic}[{partition}]": reason or "not answered yet" for (topic, partition), reason in reasons.items()}
