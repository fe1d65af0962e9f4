"""The worker: poll -> ledger -> fair queue -> limit -> executor -> outcome -> commit.

This module builds the parts and starts over with new ones when the transactional producer is lost; `session.py` runs
them.
"""

import time
from contextlib import closing
from functools import partial

import structlog
from confluent_kafka import Consumer

from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.restart_backoff import RestartBackoff
from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.kafka.transaction_thread import TransactionThread
from millstream.consumers.worker.commit_loop import CommitLoop
from millstream.consumers.worker.concurrency import ConcurrencyControl
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.coordination.fencing import Fencing
from millstream.consumers.worker.coordination.heartbeat import HeartbeatSender
from millstream.consumers.worker.coordination.listener import CoordinationListener
from millstream.consumers.worker.coordination.worker_id import claim_worker_id, crash_journal_path
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.registry import JobTypes, registered
from millstream.consumers.worker.handover import Handover
from millstream.consumers.worker.in_flight import InFlightJobs
from millstream.consumers.worker.intake import Intake
from millstream.consumers.worker.loop_guard import LoopGuard
from millstream.consumers.worker.monitoring.health import HealthServer
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.outcomes.oversized import Oversized
from millstream.consumers.worker.scheduling.admission import Admission
from millstream.consumers.worker.session import Drained, WorkerSession
from millstream.consumers.worker.status import WorkerStatus
from millstream.consumers.worker.transactions import open_transactions, transactional_id
from millstream.schemas import Codec, KafkaConnection, RequestReader, TopicCatalogue
from millstream.schemas.topics import OVERFLOW_SUFFIX

log = structlog.get_logger(__name__)

FETCH_WAIT_MS = 50
STATISTICS_INTERVAL_MS = 5_000

RESTART_FIRST_S = 0.1
RESTART_LONGEST_S = 10.0
RESTART_STABLE_AFTER_S = 30.0


class Worker:
    """Executes the jobs of its lanes. `run` blocks until `stop` is called, from a signal handler or another thread."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        config: WorkerConfig | None = None,
        jobs: JobTypes | None = None,
        codec: Codec | None = None,
        transactions: TransactionThread | None = None,
    ) -> None:
        """`transactions`: the transactional producer of this worker, if it is already being opened."""
        config = config or WorkerConfig()
        if not config.worker_id:
            config = config.model_copy(update={"worker_id": claim_worker_id(config.host, topics.prefix)})
        self.config = config
        self.status = WorkerStatus()
        self._connection = connection
        self._topics = topics
        self._jobs = registered if jobs is None else jobs
        self._codec = codec or Codec()
        self._requests = RequestReader(self._codec)
        self._lanes = list(config.lanes or topics.lanes)
        self._transactions = transactions
        self._transactional_id = transactional_id(topics, config.worker_id)
        self._host = HostGauge()
        self.metrics = WorkerMetrics(self.status, (each.name for each in self._jobs))

    def stop(self) -> None:
        """Take no more jobs, finish those that run within the grace period, and return from `run`. A second call ends
        the grace period at once."""
        if self.status.stopping.is_set():
            self.status.stop_now.set()
        self.status.stopping.set()

    def run(self) -> Drained:
        """Execute jobs until stopped. Raises `EventLoopBlocked` and `EventLoopEnded`, after which the process must be
        started again."""
        config, status, connection, topics = self.config, self.status, self._connection, self._topics
        log.info(
            "worker_started",
            worker_id=config.worker_id,
            lanes=self._lanes,
            job_types=sorted(each.name for each in self._jobs),
        )
        commands = ActiveCommands(self._codec)
        fencing = Fencing(connection, self._codec, config.worker_id, config.heartbeat_misses, self.metrics)
        heartbeats = HeartbeatSender(
            connection, topics.heartbeats, self._codec, config, self._transactional_id, self._lanes, status, self._host
        )
        # A fetch at the end of a topic returns after this time, and jobs start when the commands are read to their end.
        settings = connection.consumer(f"{config.group}-coordination", fetch_wait_max_ms=FETCH_WAIT_MS)
        listener = CoordinationListener(settings, topics, commands, fencing)
        health = HealthServer(config.health_host, config.health_port, status, self.metrics)
        backoff = RestartBackoff(RESTART_FIRST_S, RESTART_FIRST_S, RESTART_LONGEST_S, RESTART_STABLE_AFTER_S)
        with health, heartbeats, listener, closing(self._open_crash_journal()) as crash_journal:
            while True:
                began = time.monotonic()
                try:
                    return self._run_session(commands, crash_journal)
                except ProducerLost as error:
                    # Offsets that were committed stay; everything else is redelivered, to this worker or another.
                    log.error("producer_lost", reason=str(error), action="starting over")
                    status.restarts += 1
                if status.stopping.wait(backoff.after(time.monotonic() - began)):
                    return Drained.CUT_SHORT

    def _run_session(self, commands: ActiveCommands, crash_journal: CrashJournal) -> Drained:
        """Build new parts, run them, and leave nothing of them behind."""
        config, status = self.config, self.status
        opened, self._transactions = self._transactions, None
        thread = opened or open_transactions(self._connection, self._topics, config, self._keep_opening)
        thread.writer.on_committed = self.metrics.transactions.observe
        executor = Executor(self._jobs, config, [*self._lanes, *self._overflow_lanes().values()], crash_journal)
        session = self._session(executor, thread, crash_journal)
        try:
            executor.start()
            commands.apply_to(executor)
            status.load = executor
            return session.run(config.drain_grace_s)
        finally:
            status.ready.clear()
            session.stop_executing()
            crash_journal.clear()
            session.leave_groups()
            thread.stop()

    def _keep_opening(self) -> bool:
        return not self.status.stopping.is_set()

    def _session(self, executor: Executor, thread: TransactionThread, crash_journal: CrashJournal) -> WorkerSession:
        config, status, metrics, topics = self.config, self.status, self.metrics, self._topics
        members = self._members()
        admission = Admission(
            config.admission_jobs, config.admission_bytes, config.overflow_after_ms / 1000, slots=config.concurrency
        )
        in_flight = InFlightJobs(admission)
        loop_types = {each.name for each in self._jobs if each.runs_on == "loop"}
        concurrency = ConcurrencyControl(config, loop_types, executor, admission, self._host, metrics)

        def on_finished(execution: Execution) -> None:
            metrics.ended(execution)
            concurrency.sample(execution)

        commit_loop = CommitLoop(
            thread,
            members,
            executor.facts,
            OutcomeRecords(topics, self._codec, config),
            Oversized(topics, self._codec, config.worker_id),
            in_flight,
            overflow_topics={topics.lane(lane): topics.overflow(lane) for lane in self._lanes},
            interval_s=config.commit_interval_ms / 1000,
            most_moved_bytes=config.admission_bytes,
            on_finished=on_finished,
            on_aborted=metrics.count_aborted,
        )
        return WorkerSession(
            status,
            members,
            executor,
            Intake(members, self._requests, in_flight, commit_loop, executor.submit, metrics),
            commit_loop,
            Handover(status, in_flight, commit_loop, executor.cancel_lost, config.revoke_grace_s),
            LoopGuard(executor, crash_journal, status, metrics, config.blocked_loop_s),
            concurrency,
        )

    def _open_crash_journal(self) -> CrashJournal:
        config = self.config
        journal = CrashJournal(
            crash_journal_path(self._transactional_id),
            max(config.max_concurrency, config.concurrency) + config.threads + config.job_processes,
        )
        if journal.poison_suspects:
            log.warning(
                "poison_suspects", jobs=sorted(journal.poison_suspects), action="each runs in a process of its own"
            )
        return journal

    def _overflow_lanes(self) -> dict[str, str]:
        """The lane of each overflow topic, as quotas and events name it."""
        return {self._topics.overflow(lane): lane + OVERFLOW_SUFFIX for lane in self._lanes}

    def _members(self) -> list[GroupMember]:
        """A member of each lane's group, the most urgent lane first, and one of the group of all overflow topics.

        Group protocols balance how many partitions a member has of all its topics together, not of each. In one group
        for all lanes, the second of two workers is assigned half of all partitions in the order of their topics, which
        may be one lane whole and nothing of another; in a group for each lane every worker has its part of each lane.
        """
        lanes = [self._member(lane, {self._topics.lane(lane): lane}, overflow=False) for lane in self._lanes]
        return [*lanes, self._member("overflow", self._overflow_lanes(), overflow=True)]

    def _member(self, name: str, lanes: dict[str, str], overflow: bool) -> GroupMember:
        config = self.config
        group = f"{config.group}.{name}"
        settings: dict[str, str | int | float | bool] = {
            "client_id": config.worker_id,
            "group_protocol": config.group_protocol,
            # What is fetched ahead is discarded when a partition is revoked; twice what is admitted is plenty.
            "queued_min_messages": 2 * config.admission_jobs,
            "queued_max_messages_kbytes": 32_768,
            # A client has one fetch under way at each broker: a partition that is resumed waits for it to return.
            "fetch_wait_max_ms": FETCH_WAIT_MS,
            # By default librdkafka fetches nothing for a second once its queue was full, however fast it empties.
            "fetch_queue_backoff_ms": FETCH_WAIT_MS,
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
        consumer = Consumer({**made, "stats_cb": partial(self.metrics.read_statistics, name)})
        return GroupMember(group, consumer, lanes, overflow)
