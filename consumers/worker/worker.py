"""The worker: poll -> ledger -> fair queue -> limit -> executor -> outcome -> commit.

This module builds what lives as long as the process, and starts over with a new session when the transactional producer
is lost; `session_builder.py` builds the parts of a session and `session.py` runs them.
"""

import gc
import os
import time
from contextlib import closing
from pathlib import Path

import structlog

from millstream.consumers.kafka.offsets_reader import OffsetsReader
from millstream.consumers.kafka.restart_backoff import RestartBackoff
from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.kafka.transaction_thread import TransactionThread
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.coordination import Coordination
from millstream.consumers.worker.coordination.new_partitions import GroupProgress, NewPartitions
from millstream.consumers.worker.coordination.worker_id import claim_crash_journal, crash_journal_path, new_worker_id
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.process_child import ChildSetup
from millstream.consumers.worker.execution.registry import JobTypes, registered
from millstream.consumers.worker.monitoring.health import HealthServer
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.session import Drained
from millstream.consumers.worker.session_builder import SessionBuilder
from millstream.consumers.worker.status import WorkerStatus
from millstream.consumers.worker.transactions import fence, open_transactions, transactional_id
from millstream.redaction import Redaction
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.schemas.topics import OVERFLOW_GROUP

log = structlog.get_logger(__name__)

RESTART_FIRST_S = 0.1
RESTART_LONGEST_S = 10.0
RESTART_STABLE_AFTER_S = 30.0


class NameTaken(RuntimeError):
    """Another process runs under this worker's name. Two of them would end each other's transactions for ever."""


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
        set_up_child: ChildSetup | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        """`transactions`: the transactional producer of this worker, if it is already being opened. `set_up_child` is
        called in each child process that runs handlers, before its first job; it must be picklable.
        `redaction` is applied to error messages, stacks and progress messages."""
        config = config or WorkerConfig()
        self._named = bool(config.worker_id)
        if not self._named:
            config = config.model_copy(update={"worker_id": new_worker_id(config.host)})
        self.config = config
        self.status = WorkerStatus()
        self._connection = connection
        self._topics = topics
        self._jobs = registered if jobs is None else jobs
        self._codec = codec or Codec()
        self._lanes = list(config.lanes or topics.lanes)
        self._transactions = transactions
        self._set_up_child = set_up_child
        self._redaction = redaction or Redaction()
        self._transactional_id = transactional_id(topics, config.worker_id)
        self._host = HostGauge()
        self._new_partitions = NewPartitions(GroupProgress(connection).passed)
        self.metrics = WorkerMetrics(self.status, (each.name for each in self._jobs))
        self._coordination = Coordination(
            connection,
            topics,
            self._codec,
            config,
            self._lanes,
            [f"{config.group}.{name}" for name in (*self._lanes, OVERFLOW_GROUP)],
            self._transactional_id,
            self.status,
            self._host,
            self.metrics,
            self._new_partitions,
            lambda worker_id: fence(connection, topics, transactional_id(topics, worker_id)),
        )
        self._builder = SessionBuilder(
            connection,
            topics,
            config,
            self._jobs,
            self._codec,
            self._transactional_id,
            self.status,
            self.metrics,
            self._host,
            self._coordination,
            self._new_partitions,
            self._redaction,
        )

    def stop(self) -> None:
        """Take no more jobs, finish those that run within the grace period, and return from `run`. A second call ends
        the grace period at once."""
        if self.status.stopping.is_set():
            self.status.stop_now.set()
        self.drain()

    def drain(self) -> None:
        """Like the first call of `stop`, however often it is called."""
        self.status.stopping.set()

    def run(self) -> Drained:
        """Execute jobs until stopped. Raises `NameTaken`, `CommitMissing`, `UnprotectedListener` and `PortTaken`, and
        `EventLoopBlocked`, `EventLoopEnded` and `TooManyStuckHandlers`, after which the process must be started
        again."""
        config, status, coordination = self.config, self.status, self._coordination
        log.info(
            "worker_started",
            worker_id=config.worker_id,
            lanes=self._lanes,
            job_types=sorted(each.name for each in self._jobs),
        )
        health = HealthServer(config.health_host, config.health_port, status, self.metrics, config.http_guard())
        lanes = [*self._lanes, *self._builder.overflow_lanes().values()]
        drained = Drained.CLEAN
        with (
            health,
            self._new_partitions,
            closing(self._open_crash_journal()) as crash_journal,
            # One for the life of the process: what handlers keep, such as connections, belongs to its event loop.
            Executor(self._jobs, config, lanes, crash_journal, self._set_up_child, self._redaction) as executor,
            coordination,
        ):
            # A supervisor starts a child after the one of the same name has ended.
            if coordination.may_start(executor, check_name=self._named and self._transactions is None):
                status.load = executor
                drained = self._run_sessions(executor, crash_journal)
        if status.conflict:
            raise NameTaken(f"the name {config.worker_id!r} is used by {status.conflict}, which was first")
        return drained

    def _run_sessions(self, executor: Executor, crash_journal: CrashJournal) -> Drained:
        """Run one session after the other, each with Kafka clients of its own."""
        status = self.status
        backoff = RestartBackoff(RESTART_FIRST_S, RESTART_FIRST_S, RESTART_LONGEST_S, RESTART_STABLE_AFTER_S)
        while True:
            began = time.monotonic()
            try:
                return self._run_session(executor, crash_journal)
            except ProducerLost as error:
                # Offsets that were committed stay; everything else is redelivered, to this worker or another.
                log.error("producer_lost", reason=str(error), action="starting over")
                status.start_over()
            # The clients of a session are in reference cycles, and the worker's process collects those rarely: without
            # this their sockets and threads would add up.
            gc.collect()
            if status.stopping.wait(backoff.after(time.monotonic() - began)):
                return Drained.CUT_SHORT

    def _run_session(self, executor: Executor, crash_journal: CrashJournal) -> Drained:
        """Build new parts but the executor, run them, and leave nothing of them behind."""
        opened, self._transactions = self._transactions, None
        thread = opened or open_transactions(self._connection, self._topics, self.config, self._keep_opening)
        thread.on_committed = self.metrics.transactions.observe
        reader = OffsetsReader(self._connection)
        session = self._builder.build(executor, thread, reader, crash_journal)
        try:
            executor.start_again()
            return session.run(self.config.drain_grace_s)
        except ProducerLost:
            session.blame()
            raise
        finally:
            self.status.ready.clear()
            session.stop_executing()
            reader.close()
            session.leave_groups()
            thread.stop()

    def _keep_opening(self) -> bool:
        # A worker that drains and loses its producer has outcomes to write.
        return not self.status.stop_now.is_set()

    def _open_crash_journal(self) -> CrashJournal:
        config = self.config
        size = max(config.max_concurrency, config.concurrency) + config.threads + config.job_processes
        try:
            folder = Path(config.journal_folder) if config.journal_folder else None
            if self._named:
                path = crash_journal_path(self._transactional_id, folder)
            else:
                path = claim_crash_journal(self._topics.prefix, folder)
            journal = CrashJournal(path, size)
        except OSError as error:
            log.warning(
                "crash_journal_unavailable", reason=str(error), action="a job that ends its process is not noticed"
            )
            journal = CrashJournal(Path(f"/proc/self/fd/{os.memfd_create('crash-journal')}"), size)
        if journal.poison_suspects:
            log.warning(
                "poison_suspects", jobs=sorted(journal.poison_suspects), action="each runs in a process of its own"
            )
        return journal
