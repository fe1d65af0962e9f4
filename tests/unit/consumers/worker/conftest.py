"""The parts of a worker session on a scripted consumer and scripted transactions."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.worker import WorkerConfig
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.handover import Handover
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.intake import Intake
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.consumers.worker.scheduling.admission import Admission
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, RequestReader, TopicCatalogue
from tests.support.scripted_group import ScriptedConsumer, ScriptedTransactions, messages, request, scripted_member

TOPIC = "jobs.default"
CODEC = Codec()


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
    codec: Codec = CODEC

    def __post_init__(self) -> None:
        topics = TopicCatalogue(prefix="")
        self.member: GroupMember = scripted_member(self.consumer)
        self.metrics = WorkerMetrics(self.status, ["sleep"])
        self.in_flight = InFlightJobs(Admission(self.admitted, 10**6, slow_after_s=0.15, slots=10))
        self.commit_loop = CommitLoop(
            self.transactions.as_thread(),
            [self.member],
            self.facts,
            OutcomeRecords(topics, self.codec, WorkerConfig(worker_id="w")),
            Oversized(topics, self.codec, "w"),
            self.in_flight,
            overflow_topics={TOPIC: f"{TOPIC}.overflow"},
            interval_s=0.0,
            most_moved_bytes=10**6,
            on_aborted=self.metrics.count_aborted,
        )
        self.intake = Intake(
            [self.member],
            RequestReader(self.codec),
            self.in_flight,
            self.commit_loop,
            self.submitted.extend,
            self.metrics,
        )
        self.handover = Handover(self.status, self.in_flight, self.commit_loop, self._cancel_lost, 0.05)

    def _cancel_lost(self) -> None:
        self.cancelled += 1

    def assign(self, *partitions: int) -> None:
        self.handover.on_assign(self.member, [TopicPartition(TOPIC, each) for each in partitions])

    def take(self, *values: bytes, partition: int = 0, first_offset: int = 0) -> list[Execution]:
        """Take records from a partition; returns the executions that were submitted for them."""
        before = len(self.submitted)
        self.intake.take(self.member, messages(TOPIC, values, partition, first_offset))
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
