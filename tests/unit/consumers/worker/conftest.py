"""The parts of a worker session on a scripted consumer and scripted transactions."""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.batch_limit import BatchLimit
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.offset_ledger import OffsetLedger
from millstream.consumers.worker import WorkerConfig
from millstream.consumers.worker.awaited_jobs import AwaitedJobs
from millstream.consumers.worker.batch_writer import BatchWriter
from millstream.consumers.worker.commit_loop import MOST_RECORDS, CommitLoop
from millstream.consumers.worker.coordination.new_partitions import NewPartitions
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.handover import Handover
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.intake import Intake
from millstream.consumers.worker.lost_partitions import LostPartitions
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.consumers.worker.outcomes.unwritten import UnwrittenRecords
from millstream.consumers.worker.retained_jobs import RetainedJobs
from millstream.consumers.worker.scheduling.admission import Admission
from millstream.consumers.worker.status import WorkerStatus
from millstream.consumers.worker.takeover import Takeover
from millstream.schemas import Codec, KafkaConnection, PinnedRegistry, RequestReader, TopicCatalogue
from tests.support.scripted_group import ScriptedConsumer, messages, request, scripted_member
from tests.support.scripted_handover_groups import ScriptedHandoverGroups
from tests.support.scripted_positions import CLUSTER, ScriptedPositions
from tests.support.scripted_transactions import ScriptedAccess, ScriptedTransactions

TOPIC = "jobs.default"
NEWER_GRACE_S = 600.0
CODEC = Codec(PinnedRegistry(lambda: 0))
"""Of a platform on which no release has announced its schemas."""


def everything_passed(group: str, ends: Sequence[TopicPartition]) -> set[tuple[str, int]]:
    """No new partition has to wait for the one that had its keys."""
    return {(each.topic, each.partition) for each in ends}


@dataclass
class Parts:
    """Everything that a session has but its executor; `submitted` is what an executor would get."""

    admitted: int = 100
    status: WorkerStatus = field(default_factory=WorkerStatus)
    consumer: ScriptedConsumer = field(default_factory=ScriptedConsumer)
    transactions: ScriptedTransactions = field(default_factory=ScriptedTransactions)
    facts: deque[Fact] = field(default_factory=deque)
    submitted: list[Execution] = field(default_factory=list)
    cancelled: int = 0
    resumed: int = 0
    access: ScriptedAccess = field(default_factory=ScriptedAccess)
    may_announce: bool = False
    groups: ScriptedHandoverGroups = field(default_factory=ScriptedHandoverGroups)
    handover_transactions: ScriptedTransactions = field(default_factory=ScriptedTransactions)
    released: list[tuple[Execution, bool]] = field(default_factory=list)
    fenced: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    codec: Codec = CODEC

    def __post_init__(self) -> None:
        topics = TopicCatalogue(prefix="")
        self.new_partitions = NewPartitions(everything_passed)
        self.positions = ScriptedPositions(self.consumer, self.groups)
        self.member: GroupMember = scripted_member(self.consumer)
        self.metrics = WorkerMetrics(self.status, ["sleep"])
        self.in_flight = InFlightJobs(Admission(self.admitted, 10**6, slow_after_s=0.15, slots=10))
        records = OutcomeRecords(topics, self.codec, WorkerConfig(worker_id="w"))
        self.retained = RetainedJobs(
            self.status,
            self.groups.as_groups(),
            "w",
            "w-handover",
            lambda used_by: self.handover_transactions.as_thread(),
            records.ended,
            lambda records, too_large: list(records),
            lambda execution: None,
        )
        self.awaited = AwaitedJobs(
            self.groups.as_groups(),
            self.in_flight,
            self._release_awaited,
            self._fence,
            lambda worker_id, *_: worker_id in self.gone,
        )
        self.writer = BatchWriter(self.transactions.as_thread(), [self.member])
        limit = BatchLimit(MOST_RECORDS, 10**7, slow_after_s=5)
        self.unwritten = UnwrittenRecords(Oversized(topics, self.codec, "w"), limit, topics.events)
        self.commit_loop = CommitLoop(
            self.writer,
            self.facts,
            records,
            self.unwritten,
            self.in_flight,
            self.access.as_access(),
            self.status,
            overflow_topics={TOPIC: f"{TOPIC}.overflow"},
            interval_s=0.0,
            most_waiting_bytes=10**7,
            write_within_s=1.0,
            on_aborted=self.metrics.count_aborted,
            on_released=self.retained.finish,
        )
        self.intake = Intake(
            [self.member],
            RequestReader(self.codec),
            self.in_flight,
            self.commit_loop,
            self.submitted.extend,
            self.metrics,
            DeniedRights(KafkaConnection("nowhere:1")),
            self.awaited.add,
            self._start_over,
            newer_grace_s=NEWER_GRACE_S,
        )
        lost = LostPartitions(time.monotonic, self.commit_loop.is_writing)
        self.takeover = Takeover(
            self.status,
            self.positions.as_positions(),
            self.awaited,
            lost,
            self.new_partitions.hold,
            self._on_resumed,
            self.commit_loop.end_pending_offsets,
            on_missing=self.metrics.count_missing,
        )
        self.handover = Handover(
            self.status,
            self.in_flight,
            self.commit_loop,
            self.groups.as_groups(),
            self.retained,
            self.awaited,
            self.takeover,
            lost,
            self._cancel_lost,
            revoke_grace_s=0.05,
            handover_grace_s=60,
            may_announce=lambda: self.may_announce,
        )

    def _start_over(self, member: GroupMember, assignment: Assignment, made_again: bool) -> None:
        self.handover.start_over(member, assignment, made_again)

    def _on_resumed(self) -> None:
        self.resumed += 1
        self._cancel_lost()

    def _cancel_lost(self) -> None:
        self.cancelled += 1

    def _release_awaited(self, execution: Execution, starts: bool) -> None:
        self.released.append((execution, starts))

    def _fence(self, transactional_id: str) -> Future[None]:
        self.fenced.append(transactional_id)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def consumer_partition(self, partition: int) -> TopicPartition:
        return TopicPartition(TOPIC, partition)

    def ledger(self, partition: int = 0) -> OffsetLedger:
        """A ledger of the worker that had the partition before."""
        return OffsetLedger(place=f"{CLUSTER}/{TOPIC}/{partition}")

    def assign(self, *partitions: int) -> None:
        self.handover.on_assign(self.member, [TopicPartition(TOPIC, each) for each in partitions])

    def take(
        self, *values: bytes | None, partition: int = 0, first_offset: int = 0, key: bytes | None = None
    ) -> list[Execution]:
        """Take records of one key from a partition; returns the executions that were submitted for them."""
        before = len(self.submitted)
        self.intake.take(self.member, messages(TOPIC, values, partition, first_offset, key))
        return self.submitted[before:]

    def take_requests(self, count: int, **fields: str) -> list[Execution]:
        return self.take(*(request(self.codec, **fields) for _ in range(count)))

    def start(self, execution: Execution) -> None:
        execution.begin()
        self.facts.append(Started(execution))

    def succeed(self, execution: Execution) -> None:
        execution.end(SUCCEEDED)
        self.facts.append(Finished(execution))

    def committed(self) -> dict[int, int]:
        """The newest committed offset of each partition of which something is done."""
        return {partition: offset for partition, offset in self.commits().items() if offset}

    def commits(self) -> dict[int, int]:
        """The newest committed offset of each partition."""
        return {
            offset.partition: offset.offset
            for batch in self.transactions.written
            for commit in batch.commits
            for offset in commit.offsets
        }

    def written(self) -> list[tuple[str, bool]]:
        """Topic of each committed record, and whether it goes with an offset."""
        return [
            (each.topic, each.assignment is not None) for batch in self.transactions.written for each in batch.records
        ]


@pytest.fixture
def parts() -> Parts:
    return Parts()
