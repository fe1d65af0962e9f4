"""Takes requests from the lanes: reads each, admits it or moves it to the overflow topic, and hands it to the executor.

What is full is not read: first by fetching a little later, then by pausing partitions. The consumers are polled all the
same, because a consumer learns of its group's rebalances only while it is polled.
"""

import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaError, Message

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.schemas import DecodeError, RegistryUnavailable, RequestReader

log = structlog.get_logger(__name__)

RETRY_FETCH_S = 0.002
LONGEST_POLL_S = 0.005
"""The longest wait for one member; then the others and the next transaction have their turn."""

PAUSE_AFTER_S = 0.2
"""How long admission may be full before partitions are paused. Pausing discards what was fetched ahead, which costs
more than a short wait."""


class Intake:
    """Reads the members' partitions into the executor. Not thread-safe: the poll thread owns it.

    `members`: the most urgent lane first, which is fetched first. `submit` takes executions and returns at once.
    """

    def __init__(
        self,
        members: Sequence[GroupMember],
        requests: RequestReader,
        in_flight: InFlightJobs,
        commit_loop: CommitLoop,
        submit: Callable[[list[Execution]], None],
        metrics: WorkerMetrics,
    ) -> None:
        self._members = members
        self._requests = requests
        self._in_flight = in_flight
        self._admission = in_flight.admission
        self._commit_loop = commit_loop
        self._submit = submit
        self._metrics = metrics
        self._full_since: float | None = None
        self._busiest = members[0]

    def poll(self) -> None:
        """Take what has arrived. Returns as soon as there is something, and within `LONGEST_POLL_S`."""
        now = time.monotonic()
        self._admission.settle(now)
        if self._commit_loop.is_behind or self._waits_for_room(now):
            time.sleep(RETRY_FETCH_S)
            return
        paused, arrived = self._full_since is not None, 0
        for member in self._members:
            if self._admission.full and not paused:
                break
            messages = member.fetch()
            if messages:
                self.take(member, messages)
                self._busiest = member
                arrived += len(messages)
        if not arrived:
            self.take(self._busiest, self._busiest.poll(LONGEST_POLL_S))

    def take(self, member: GroupMember, messages: list[Message]) -> None:
        """Admit messages of `member`. Raises `ProducerLost` after a fatal error of its consumer."""
        admitted = []
        held_back: set[Assignment] = set()
        now = time.monotonic()
        admission, assignments = self._admission, member.assignments
        for message in messages:
            error = message.error()
            if error:
                _raise_if_fatal(error)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            assignment = assignments.get((topic, partition))
            if assignment is None or assignment in held_back:
                continue
            value = message.value()
            try:
                read = self._requests.read(value)
            except RegistryUnavailable as problem:
                log.warning("schema_registry_unavailable", topic=topic, partition=partition, reason=str(problem))
                member.seek(assignment, offset)
                held_back.add(assignment)
                continue
            except DecodeError as problem:
                if assignment.ledger.take(offset):
                    log.error("record_unreadable", topic=topic, partition=partition, offset=offset, reason=str(problem))
                    self._commit_loop.give_up(assignment, offset, message.key(), value, problem)
                continue
            if not assignment.ledger.take(offset):
                continue
            assert value is not None
            tenant = read.template.tenant
            over_share = not assignment.overflow and admission.moves(tenant, now)
            # Jobs of one ordering key would pass each other on two topics, so they are never moved.
            if over_share and not read.ordering_key:
                self._commit_loop.move_to_overflow(assignment, offset, tenant, value)
                self._metrics.moved += 1
                continue
            admission.take(tenant, len(value), assignment.overflow, kept=over_share)
            admitted.append(Execution(assignment, offset, value, read))
        if admitted:
            self._metrics.taken += len(admitted)
            self._in_flight.add(admitted)
            self._submit(admitted)

    def pause_or_resume(self) -> None:
        """Pause the partitions of what is full and resume those of what has room again."""
        full = self._full_since is not None and time.monotonic() - self._full_since >= PAUSE_AFTER_S
        for member in self._members:
            pausing: list[Assignment] = []
            resuming: list[Assignment] = []
            for assignment in member.assignments.values():
                is_full = self._overflow_is_full(member, assignment) if member.overflow else full
                pause = is_full or assignment.ledger.nearly_full
                if pause != assignment.paused:
                    assignment.paused = pause
                    (pausing if pause else resuming).append(assignment)
            if pausing:
                member.pause(pausing)
            if resuming:
                member.resume(resuming)

    def pause_all(self) -> None:
        """Fetch nothing more: the worker drains."""
        for member in self._members:
            member.pause(list(member.assignments.values()))

    def poll_paused(self) -> None:
        """Stay a member of every group while nothing is fetched. Records that were already on their way when the
        partitions were paused are left to the next worker."""
        for member in self._members:
            member.poll(LONGEST_POLL_S)

    def _waits_for_room(self, now: float) -> bool:
        """Whether admission has been full for a moment only, so that waiting is cheaper than pausing."""
        if self._admission.full:
            self._full_since = self._full_since or now
        elif self._admission.roomy:
            self._full_since = None
        return self._full_since is not None and now - self._full_since < PAUSE_AFTER_S

    def _overflow_is_full(self, member: GroupMember, assignment: Assignment) -> bool:
        """Overflow partitions share a quarter of the admitted jobs; a paused one resumes at half of its part."""
        part = self._admission.limit_records // 4 // len(member.assignments) + 1
        in_flight = assignment.ledger.in_flight * (2 if assignment.paused else 1)
        return in_flight >= part or self._admission.overflow_full


def _raise_if_fatal(error: KafkaError) -> None:
    if error.fatal():
        raise ProducerLost(f"consumer: {error.str()}")
    log.warning("consumer_error", reason=error.str())
