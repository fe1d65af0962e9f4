"""Builds the parts of a worker session and connects them."""

import time
from functools import partial

from confluent_kafka import Consumer

from millstream.consumers.kafka.batch_limit import BatchLimit
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.handover_groups import HandoverGroups
from millstream.consumers.kafka.offsets_reader import OffsetsReader
from millstream.consumers.kafka.pending_offsets import PendingOffsets
from millstream.consumers.kafka.positions import Positions
from millstream.consumers.kafka.topic_access import TopicAccess
from millstream.consumers.kafka.transaction_thread import TransactionThread
from millstream.consumers.worker.awaited_jobs import AwaitedJobs
from millstream.consumers.worker.batch_writer import BatchWriter
from millstream.consumers.worker.commit_loop import MOST_RECORDS, CommitLoop
from millstream.consumers.worker.concurrency import ConcurrencyControl
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.coordination import Coordination
from millstream.consumers.worker.coordination.new_partitions import NewPartitions
from millstream.consumers.worker.denied_partitions import DeniedPartitions
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.execution.registry import JobTypes
from millstream.consumers.worker.first_start import FirstStart
from millstream.consumers.worker.handover import Handover
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.intake import Intake
from millstream.consumers.worker.loop_guard import LoopGuard
from millstream.consumers.worker.lost_partitions import LostPartitions
from millstream.consumers.worker.monitoring.failure_log import FailureLog
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.consumers.worker.outcomes.unwritten import UnwrittenRecords
from millstream.consumers.worker.retained_jobs import RetainedJobs
from millstream.consumers.worker.scheduling.admission import Admission
from millstream.consumers.worker.session import WorkerSession
from millstream.consumers.worker.status import WorkerStatus
from millstream.consumers.worker.takeover import Takeover
from millstream.consumers.worker.transactions import fence, open_transactions
from millstream.redaction import Redaction
from millstream.schemas import Codec, KafkaConnection, RequestReader, TopicCatalogue
from millstream.schemas.topics import OVERFLOW_GROUP, OVERFLOW_SUFFIX

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of one transaction."""

FETCH_QUEUE_BACKOFF_MS = 50
STATISTICS_INTERVAL_MS = 5_000
METADATA_REFRESH_MS = 10_000


class SessionBuilder:
    """Builds sessions of one worker. `transactional_id`: of its transactions."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        config: WorkerConfig,
        jobs: JobTypes,
        codec: Codec,
        transactional_id: str,
        status: WorkerStatus,
        metrics: WorkerMetrics,
        host: HostGauge,
        coordination: Coordination,
        new_partitions: NewPartitions,
        redaction: Redaction,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._config = config
        self._jobs = jobs
        self._codec = codec
        self._requests = RequestReader(codec)
        self._lanes = list(config.lanes or topics.lanes)
        self._transactional_id = transactional_id
        self._status = status
        self._metrics = metrics
        self._host = host
        self._coordination = coordination
        self._new_partitions = new_partitions
        self._redaction = redaction
        self._failures = FailureLog()

    def build(
        self, executor: Executor, thread: TransactionThread, reader: OffsetsReader, crash_journal: CrashJournal
    ) -> WorkerSession:
        """A session of new parts around the executor, which outlives it."""
        config, status, metrics, topics = self._config, self._status, self._metrics, self._topics
        members = self._members()
        denied = DeniedRights(self._connection)
        for member in members:
            member.on_assigned = partial(denied.group_joined, member.group)
        admission = Admission(
            config.admission_jobs,
            config.admission_bytes,
            config.overflow_after_ms / 1000,
            slots=config.concurrency,
            all_slots_used=lambda: executor.all_slots_used,
        )
        in_flight = InFlightJobs(admission)
        loop_types = {each.name for each in self._jobs if each.runs_on == "loop"}
        concurrency = ConcurrencyControl(config, loop_types, executor, admission, self._host, metrics)

        groups = HandoverGroups(reader, config.group)
        records = OutcomeRecords(topics, self._codec, config, redaction=self._redaction)
        oversized = Oversized(topics, self._codec, config.worker_id)

        def on_ended(execution: Execution) -> None:
            metrics.ended(execution)
            if execution.outcome is not SUCCEEDED:
                self._failures.ended(execution)

        def on_finished(execution: Execution) -> None:
            on_ended(execution)
            concurrency.sample(execution)

        retained = RetainedJobs(
            status,
            groups,
            config.worker_id,
            f"{self._transactional_id}-handover-{self._coordination.incarnation}",
            # A worker that drains opens it too.
            lambda used_by: open_transactions(
                self._connection, topics, config, lambda: not status.stop_now.is_set(), used_by
            ),
            records.ended,
            oversized.fitting,
            on_ended,
        )
        awaited = AwaitedJobs(
            groups,
            in_flight,
            executor.release_awaited,
            partial(fence, self._connection, topics),
            self._coordination.writes_no_more,
        )
        # Every group whose commits are in this worker's transactions, and a topic of it.
        topic_of = {each.group: next(iter(each.lanes)) for each in members}
        topic_of |= dict.fromkeys(groups.names, topics.lane(self._lanes[0]))
        thread.pending = PendingOffsets(self._connection, topic_of)
        timeout_s = config.transaction_timeout_ms / 1000
        commit_loop = CommitLoop(
            BatchWriter(thread, members),
            executor.facts,
            records,
            UnwrittenRecords(oversized, BatchLimit(MOST_RECORDS, MOST_BYTES, timeout_s / 2), topics.events),
            in_flight,
            TopicAccess(self._connection),
            status,
            overflow_topics={topics.lane(lane): topics.overflow(lane) for lane in self._lanes},
            interval_s=config.commit_interval_ms / 1000,
            most_waiting_bytes=config.admission_bytes,
            write_within_s=timeout_s,
            on_finished=on_finished,
            on_aborted=metrics.count_aborted,
            on_released=retained.finish,
        )
        first_start = FirstStart(self._connection, topics, self._codec, self._requests, config.without_commit)
        lost = LostPartitions(time.monotonic, commit_loop.is_writing)

        def on_resumed() -> None:
            in_flight.drop_released()
            executor.cancel_lost()
            executor.resume_suspended()

        takeover = Takeover(
            status,
            Positions(self._connection, reader, groups),
            awaited,
            lost,
            self._new_partitions.hold,
            on_resumed,
            commit_loop.end_pending_offsets,
            without_commit=first_start.offset,
            on_missing=metrics.count_missing,
        )
        handover = Handover(
            status,
            in_flight,
            commit_loop,
            groups,
            retained,
            awaited,
            takeover,
            lost,
            executor.cancel_lost,
            revoke_grace_s=config.revoke_grace_s,
            handover_grace_s=config.handover_grace_s,
            may_announce=self._coordination.all_understand,
        )
        return WorkerSession(
            status,
            members,
            executor,
            Intake(
                members,
                self._requests,
                in_flight,
                commit_loop,
                executor.submit,
                metrics,
                denied,
                awaited.add,
                handover.start_over,
                config.unknown_type_grace_s,
            ),
            commit_loop,
            handover,
            LoopGuard(executor, crash_journal, status, metrics, config.blocked_loop_s, config.max_stuck_handlers),
            concurrency,
            DeniedPartitions(members, denied, status, handover.drop, executor.resume_suspended),
        )

    def overflow_lanes(self) -> dict[str, str]:
        """The lane of each overflow topic, as quotas and events name it."""
        return {self._topics.overflow(lane): lane + OVERFLOW_SUFFIX for lane in self._lanes}

    def _members(self) -> list[GroupMember]:
        """A member of each lane's group, the most urgent lane first, and one of the group of all overflow topics.

        Group protocols balance how many partitions a member has of all its topics together, not of each. In one group
        for all lanes, the second of two workers is assigned half of all partitions in the order of their topics, which
        may be one lane whole and nothing of another; in a group for each lane every worker has its part of each lane.
        """
        lanes = [self._member(lane, {self._topics.lane(lane): lane}, overflow=False) for lane in self._lanes]
        return [*lanes, self._member(OVERFLOW_GROUP, self.overflow_lanes(), overflow=True)]

    def _member(self, name: str, lanes: dict[str, str], overflow: bool) -> GroupMember:
        config = self._config
        group = f"{config.group}.{name}"
        settings: dict[str, str | int | float | bool] = {
            "client_id": config.worker_id,
            # A position that is not in the log is an error here: going on anywhere else would lose jobs in silence.
            "auto_offset_reset": "error",
            # Partitions that are added to a topic are read within this time.
            "topic_metadata_refresh_interval_ms": METADATA_REFRESH_MS,
            "group_protocol": config.group_protocol,
            # What is fetched ahead is discarded when a partition is revoked; twice what is admitted is plenty.
            "queued_min_messages": 2 * config.admission_jobs,
            "queued_max_messages_kbytes": 32_768,
            # A client has one fetch under way at each broker: a partition that is resumed waits for it to return.
            "fetch_wait_max_ms": config.fetch_wait_ms,
            # By default librdkafka fetches nothing for a second once its queue was full, however fast it empties.
            "fetch_queue_backoff_ms": FETCH_QUEUE_BACKOFF_MS,
            "statistics_interval_ms": STATISTICS_INTERVAL_MS,
        }
        if config.group_protocol == "classic":
            settings |= {
                "partition_assignment_strategy": "cooperative-sticky",
                "session_timeout_ms": config.session_timeout_ms,
                "heartbeat_interval_ms": config.session_timeout_ms // 6,
            }
        if config.static_membership:
            settings["group_instance_id"] = self._transactional_id
        made = self._connection.consumer(group, **settings)

        def on_statistics(text: str) -> None:
            # Called when the member is polled.
            self._metrics.read_statistics(name, text, member.assignments)

        member: GroupMember = GroupMember(group, Consumer({**made, "stats_cb": on_statistics}), lanes, overflow)
        return member
