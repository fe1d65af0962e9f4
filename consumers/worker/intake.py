"""Takes requests from the lanes: reads each, admits it or moves it to the overflow topic, and hands it to the executor.

What is full is not read: first by fetching a little later, then by pausing partitions. The consumers are polled all the
same, because a consumer learns of its group's rebalances only while it is polled.
"""

import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaError, Message

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.changed_log import LOG_CHANGED
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.deferred_partitions import DeferredPartitions, is_of_newer_release
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.idleness import Idleness
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.look_ahead import LookAhead
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.newer_records import HeldRecord, NewerRecords, is_unannounced
from millstream.line_rate import LineRate
from millstream.schemas import DecodeError, ReadRequest, RegistryUnavailable, RequestReader

log = structlog.get_logger(__name__)

RETRY_FETCH_S = 0.002
LONGEST_POLL_S = 0.005
"""The longest wait for one member; then the others and the next transaction have their turn."""

IDLE_POLL_S = 0.05
"""The longest wait of an idle worker for one member: a job on another lane than the last one waits for it."""

PAUSE_AFTER_S = 0.2
"""How long admission may be full before partitions are paused. Pausing discards what was fetched ahead, which costs
more than a short wait."""


class Intake:
    """Reads the members' partitions into the executor. Not thread-safe: the poll thread owns it.

    `members`: the most urgent lane first, which is fetched first. `submit` takes executions and returns at once;
    `on_awaited` is called before for one that the previous owner of its partition runs. `on_log_changed` is called when
    the next offset of a partition is not in its log, and when its topic is gone, so that it will be another log.
    `newer_grace_s`: how long a record waits whose schema no release has announced, in seconds.
    """

    def __init__(
        self,
        members: Sequence[GroupMember],
        requests: RequestReader,
        in_flight: InFlightJobs,
        commit_loop: CommitLoop,
        submit: Callable[[list[Execution]], None],
        metrics: WorkerMetrics,
        denied: DeniedRights,
        on_awaited: Callable[[Execution], None] = lambda execution: None,
        on_log_changed: Callable[[GroupMember, Assignment, bool], None] = lambda member, assignment, made_again: None,
        newer_grace_s: float = 0.0,
    ) -> None:
        self._members = members
        self._requests = requests
        self._in_flight = in_flight
        self._admission = in_flight.admission
        self._commit_loop = commit_loop
        self._submit = submit
        self._metrics = metrics
        self._denied = denied
        self._on_awaited = on_awaited
        self._on_log_changed = on_log_changed
        self._deferred = DeferredPartitions()
        self._newer = NewerRecords(newer_grace_s)
        self._lines = LineRate(1.0, most=10)
        self._ahead = LookAhead(requests, in_flight.admission)
        self._full_since: float | None = None
        self._busiest = members[0]
        self._idleness = Idleness(members)

    def poll(self) -> bool:
        """Take what has arrived. Returns as soon as there is something, and within `LONGEST_POLL_S`, or `IDLE_POLL_S`
        for an idle worker: whether it is idle, and nothing has come."""
        now = time.monotonic()
        self._admission.settle(now)
        if self._waits_for_room(now):
            time.sleep(RETRY_FETCH_S)
            return False
        paused, arrived = self._full_since is not None, 0
        for member in self._members:
            if self._admission.full and not paused:
                break
            messages = member.fetch()
            if messages:
                self.take(member, messages)
                self._busiest = member
                arrived += len(messages)
        idle = self._idleness.holds(arrived + self._admission.records, now)
        if arrived:
            return False
        messages = self._busiest.poll(IDLE_POLL_S if idle else LONGEST_POLL_S)
        self.take(self._busiest, messages)
        return idle and not messages and self._idleness.holds(self._admission.records, now)

    def take(self, member: GroupMember, messages: list[Message]) -> None:
        """Admit messages of `member`. Raises `ProducerLost` after a fatal error of its consumer."""
        admitted = []
        now = time.monotonic()
        if self._ahead.active and not member.overflow:
            messages = self._ahead.look(member, messages, now)
        deferred, assignments = self._deferred, member.assignments
        for message in messages:
            error = message.error()
            if error:
                self._react(member, message, error)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            assignment = assignments.get((topic, partition))
            if assignment is None or assignment in deferred:
                continue
            value = message.value()
            try:
                read = self._requests.read(value)
            except (DecodeError, RegistryUnavailable) as problem:
                self._put_aside(assignment, offset, message, problem)
                continue
            if not assignment.ledger.take(offset):
                continue
            assert value is not None
            if self._newer.held and self._waits_behind_newer(assignment, offset, value, read, now):
                continue
            execution = self._admit(assignment, offset, value, read, now)
            if execution is not None:
                admitted.append(execution)
        self._start(admitted)

    def _start(self, admitted: list[Execution]) -> None:
        if admitted:
            self._metrics.taken += len(admitted)
            self._in_flight.add(admitted)
            self._submit(admitted)

    def pause_or_resume(self) -> None:
        """Pause the partitions of what is full and of what cannot be read yet, and resume the others."""
        now = time.monotonic()
        self._deferred.expire(now)
        self._metrics.deferred = len(self._deferred)
        if self._newer.held:
            self._start([each for record in self._newer.due(now) if (each := self._resolve(record, now)) is not None])
        self._metrics.held = len(self._newer.held)
        full = self._full_since is not None and now - self._full_since >= PAUSE_AFTER_S
        behind = full and self._commit_loop.is_behind
        looks_ahead = full and not behind and self._admission.alone
        if self._ahead.active and not looks_ahead:
            self._ahead.end(self._members)
        for member in self._members:
            pausing: list[Assignment] = []
            resuming: list[Assignment] = []
            for assignment in member.assignments.values():
                is_full = behind or (
                    self._overflow_is_full(member, assignment) if member.overflow else full and not looks_ahead
                )
                pause = is_full or assignment.waiting or assignment.ledger.nearly_full or assignment in self._deferred
                # What was read and not taken is read again, also where nothing was paused meanwhile.
                if pause != assignment.paused or (assignment.passed and not pause and not self._ahead.active):
                    assignment.paused = pause
                    (pausing if pause else resuming).append(assignment)
            if pausing:
                member.pause(pausing)
            if resuming:
                member.resume(resuming)
        if looks_ahead and not self._ahead.active:
            for member in self._members:
                if not member.overflow:
                    self._ahead.begin(member, [each for each in member.assignments.values() if not each.paused])

    def pause_all(self) -> None:
        """Fetch nothing more: the worker drains."""
        for member in self._members:
            member.pause(list(member.assignments.values()))

    def poll_paused(self) -> None:
        """Stay a member of every group while nothing is fetched. Records that were already on their way when the
        partitions were paused are left to the next worker."""
        for member in self._members:
            member.poll(LONGEST_POLL_S)

    def _admit(
        self, assignment: Assignment, offset: int, value: bytes, read: ReadRequest, now: float
    ) -> Execution | None:
        """The execution of a request that was taken; None when it was moved to the overflow topic."""
        admission, tenant = self._admission, read.tenant
        if assignment.awaited and offset in assignment.awaited:
            admission.take(tenant, len(value), assignment.overflow)
            execution = Execution(assignment, offset, value, read)
            self._on_awaited(execution)
            return execution
        kept = False
        if not assignment.overflow:
            admission.latest.note(tenant, assignment.lane, read.shared.job_type, now)
            if admission.moves(tenant, now):
                # Jobs of one ordering key would pass each other on two topics, so they are never moved.
                kept = bool(read.ordering_key)
                if not kept and not admission.alone:
                    self._commit_loop.move_to_overflow(assignment, offset, admission.overflow_key(tenant), value)
                    self._metrics.moved += 1
                    return None
        admission.take(tenant, len(value), assignment.overflow, kept)
        return Execution(assignment, offset, value, read)

    def _put_aside(
        self,
        assignment: Assignment,
        offset: int,
        message: Message,
        problem: DecodeError | RegistryUnavailable,
    ) -> None:
        """Wait at a record of a newer release and while the schema registry is unavailable, keep one aside that may be
        of a newer release, and give up one that is no request."""
        # Asking the registry may have taken long.
        now = time.monotonic()
        if isinstance(problem, RegistryUnavailable) or is_of_newer_release(problem):
            assignment.passed = True
            self._deferred.defer(assignment, offset, problem, now)
        elif assignment.ledger.take(offset):
            key, value = message.key(), message.value()
            if value is not None and is_unannounced(problem):
                self._newer.hold(assignment, offset, key, value, problem, now)
            else:
                self._give_up(assignment, offset, key, value, problem)

    def _waits_behind_newer(
        self, assignment: Assignment, offset: int, value: bytes, read: ReadRequest, now: float
    ) -> bool:
        """Keep a job aside whose ordering key is that of a record which cannot be read yet."""
        key = read.ordering_key.encode()
        if not key or not self._newer.precedes(assignment, key):
            return False
        self._newer.hold(assignment, offset, key, value, None, now)
        return True

    def _resolve(self, record: HeldRecord, now: float) -> Execution | None:
        """Give up a record whose time is over; the execution of one that waited behind it."""
        if record.problem is None:
            return self._admit(record.assignment, record.offset, record.value, self._requests.read(record.value), now)
        self._give_up(record.assignment, record.offset, record.key, record.value, record.problem)
        return None

    def _give_up(
        self, assignment: Assignment, offset: int, key: bytes | None, value: bytes | None, problem: DecodeError
    ) -> None:
        left_out = self._lines.admit(assignment.topic_partition)
        if left_out is not None:
            log.error(
                "record_unreadable",
                topic=assignment.topic,
                partition=assignment.partition,
                offset=offset,
                reason=str(problem),
                left_out=left_out,
            )
        self._commit_loop.give_up(assignment, offset, key, value, problem)

    def _react(self, member: GroupMember, message: Message, error: KafkaError) -> None:
        if error.fatal():
            raise ProducerLost(f"consumer: {error.str()}")
        if error.code() in LOG_CHANGED:
            topic, partition = message.topic(), message.partition()
            for assignment in list(member.assignments.values()):
                if assignment.topic == topic and partition in (assignment.partition, None, -1):
                    self._on_log_changed(member, assignment, error.code() != KafkaError._AUTO_OFFSET_RESET)
            return
        if not self._denied.note(error, message.topic(), member.group):
            log.warning("consumer_error", reason=error.str())

    def _waits_for_room(self, now: float) -> bool:
        """Whether there has been no room for a moment only, so that waiting is cheaper than pausing. Past that moment
        the members are polled, paused: one that is not polled for long would lose its group."""
        if self._admission.full or self._commit_loop.is_behind:
            self._full_since = self._full_since or now
        elif self._admission.roomy:
            self._full_since = None
        return self._full_since is not None and now - self._full_since < PAUSE_AFTER_S

    def _overflow_is_full(self, member: GroupMember, assignment: Assignment) -> bool:
        """Overflow partitions share a quarter of the admitted jobs; a paused one resumes at half of its part."""
        part = self._admission.limit_records // 4 // len(member.assignments) + 1
        in_flight = assignment.ledger.in_flight * (2 if assignment.paused else 1)
        return in_flight >= part or self._admission.overflow_full
