"""The worker: poll -> ledger -> fair queue -> limit -> executor -> outcome -> commit.

One thread, the caller's, owns the consumers, the window and the ledgers, and never runs a job, so no lock is needed
anywhere and polling goes on however long a job runs. Handlers run on the executor's threads; what they did comes back
through two deques. Transactions are written by a third thread, one at a time, so that a commit delays no start.
"""

import enum
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import GroupMember
from millstream.consumers.kafka.offset_ledger import Checkpoint, OffsetLedger
from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.restart_backoff import RestartBackoff
from millstream.consumers.kafka.transaction import TransactionAborted, TransactionWriter, WriterBroken
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.commands import CommandListener
from millstream.consumers.worker.coordination.heartbeat import HeartbeatSender
from millstream.consumers.worker.coordination.worker_id import claim_worker_id, crash_journal_path
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.execution.registry import JobTypes, registered
from millstream.consumers.worker.monitoring.health import HealthServer
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.monitoring.metrics import Metrics
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.consumers.worker.scheduling.adaptive_limit import AdaptiveLimit
from millstream.consumers.worker.scheduling.admission import Admission
from millstream.consumers.worker.scheduling.quotas import OVERFLOW
from millstream.schemas import (
    Codec,
    DecodeError,
    KafkaConnection,
    RegistryUnavailable,
    RequestReader,
    TopicCatalogue,
    WorkerState,
)

log = structlog.get_logger(__name__)

FULL_POLL_S = 0.002
TURN_S = 0.005
"""Longest wait for one lane; then the others and the next write have their turn."""

PAUSE_AFTER_S = 0.2
WRITE_AT_ONCE = 10_000
LIMIT_EVERY_S = 0.5
WARN_LATE_S = 1.0
FETCH_WAIT_MS = 50
COMMITTED_WITHIN_S = 2.0
WRITE_MARGIN_S = 1.0
STATISTICS_EVERY_MS = 5_000
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
STABLE_AFTER_S = 30.0


class Drained(enum.Enum):
    """How a worker ended."""

    CLEAN = "everything it had begun is finished and written"
    CUT_SHORT = "the grace period ended first; what was running will be redelivered"


class EventLoopBlocked(RuntimeError):
    """A coroutine blocks the event loop and so all others; only the end of the process ends it."""


class EventLoopEnded(RuntimeError):
    """The worker can run no more coroutines; its process must be started again."""


class Worker:
    """Executes the jobs of its lanes. `run` blocks until `stop` is called, from a signal handler or another thread."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        config: WorkerConfig | None = None,
        jobs: JobTypes | None = None,
        codec: Codec | None = None,
    ) -> None:
        config = config or WorkerConfig()
        if not config.worker_id:
            config = config.model_copy(update={"worker_id": claim_worker_id(config.host, topics.prefix)})
        self.config = config
        self.ready = threading.Event()
        self.connection = connection
        self.topics = topics
        self.jobs = registered if jobs is None else jobs
        self.codec = codec or Codec()
        self.requests = RequestReader(self.codec)
        self.lanes = list(self.config.lanes or topics.lanes)
        self.transactional_id = f"{topics.prefix}worker-{config.worker_id}"
        self.metrics = Metrics(each.name for each in self.jobs)
        self.host = HostGauge()
        self.state = WorkerState.STARTING
        self.executor: Executor | None = None
        self.looped_at = time.monotonic()
        self.stopping = threading.Event()
        self.hurry = threading.Event()
        self.blocked = threading.Event()

    def stop(self) -> None:
        """Take no more jobs, finish those that run within the grace period, and return from `run`. A second call ends
        the grace period at once."""
        if self.stopping.is_set():
            self.hurry.set()
        self.stopping.set()

    def run(self) -> Drained:
        """Execute jobs until stopped."""
        log.info(
            "worker starts",
            worker_id=self.config.worker_id,
            lanes=self.lanes,
            job_types=sorted(each.name for each in self.jobs),
        )
        with (
            HealthServer(self),
            HeartbeatSender(self),
            CommandListener(self) as control,
            closing(self._open_journal()) as journal,
        ):
            backoff = RestartBackoff(FIRST_PAUSE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, STABLE_AFTER_S)
            while True:
                life = _Life(self, control, journal)
                try:
                    return life.live()
                except WriterBroken as error:
                    # Offsets that were committed stay, all else is redelivered to the new life or another worker.
                    log.error("transactional producer lost, starting over", reason=str(error))
                    self.metrics.restarts += 1
                finally:
                    self.ready.clear()
                    life.end()
                if self.stopping.wait(backoff.after(life.lasted_s)):
                    return Drained.CUT_SHORT

    def _open_journal(self) -> CrashJournal:
        config = self.config
        journal = CrashJournal(
            crash_journal_path(self.transactional_id),
            max(config.max_concurrency, config.concurrency) + config.threads + config.job_processes,
        )
        if journal.suspects:
            log.warning("these jobs ran when two processes died, each gets its own", jobs=sorted(journal.suspects))
        return journal


class _Life:
    """A worker from joining the group to leaving it; after a fatal producer error another one follows."""

    def __init__(self, worker: Worker, control: CommandListener, journal: CrashJournal) -> None:
        self._worker = worker
        self._control = control
        self._journal = journal
        self._config = config = worker.config
        self._metrics = worker.metrics
        self._in_flight: set[Execution] = set()
        self._records: deque[OutgoingRecord] = deque()
        self._passed_on_bytes = 0
        self._batch: list[OutgoingRecord] = []
        self._window = Admission(
            config.window, config.window_bytes, config.overflow_after_ms / 1000, places=config.concurrency
        )
        self._full_since: float | None = None
        self._ended = False
        self._warned = False
        self._began = self._written_at = time.monotonic()
        self._overflow_of = {worker.topics.lane(lane): worker.topics.overflow(lane) for lane in worker.lanes}
        self._narrator = OutcomeRecords(worker.topics, worker.codec, config)
        overflows = {worker.topics.overflow(lane): lane + OVERFLOW for lane in worker.lanes}
        self._executor = Executor(worker.jobs, self._narrator, config, [*worker.lanes, *overflows.values()], journal)
        self._limit = AdaptiveLimit(config.concurrency, config.min_concurrency, config.max_concurrency)
        self._limited_at = time.monotonic()
        self._run_times: list[tuple[str, float]] = []
        self._outcome_writer = TransactionWriter(
            worker.connection, worker.transactional_id, config.transaction_timeout_ms, worker.metrics
        )
        self._writer = TransactionThread(self._outcome_writer, config.transaction_timeout_ms / 1000 + WRITE_MARGIN_S)
        # The most urgent lane first: it is asked first.
        self._memberships = [
            self._membership(lane, {worker.topics.lane(lane): lane}, overflow=False) for lane in worker.lanes
        ]
        self._memberships.append(self._membership("overflow", overflows, overflow=True))
        self._liveliest = self._memberships[0]

    def live(self) -> Drained:
        worker = self._worker
        if not self._outcome_writer.open(self._waits_on):
            return Drained.CUT_SHORT if worker.metrics.restarts else Drained.CLEAN
        self._executor.start()
        self._control.obey(self._executor)
        worker.executor = worker.metrics.executor = self._executor
        for membership in self._memberships:
            membership.join(self._on_assign, self._on_revoke, self._on_lost)
        worker.state = WorkerState.RUNNING
        while not worker.stopping.is_set():
            worker.looped_at = time.monotonic()
            self._look_after_loop()
            self._poll()
            self._collect()
            self._write_when_due()
            self._pause_or_resume()
            self._adapt_limit()
            self._tell_ready()
        worker.state = WorkerState.DRAINING
        return self._drain()

    @property
    def lasted_s(self) -> float:
        return time.monotonic() - self._began

    def _waits_on(self) -> bool:
        """Called while waiting for Kafka: the worker is alive, and may be told to stop meanwhile."""
        self._worker.looped_at = time.monotonic()
        return not self._worker.stopping.is_set()

    def end(self) -> None:
        self._ended = True
        for assignment in self._assignments():
            assignment.give_up()
        self._executor.stop()
        self._journal.clear()
        # Leaving waits for a join that is under way; they wait together.
        with ThreadPoolExecutor(len(self._memberships)) as leaving:
            list(leaving.map(lambda membership: membership.consumer.close(), self._memberships))
        self._writer.stop()

    def _look_after_loop(self) -> None:
        """A worker whose event loop stands still would keep its partitions and run nothing: better that it ends."""
        if not self._executor.alive:
            raise EventLoopEnded("the thread of the event loop ended")
        late_s = self._metrics.loop_late_s = self._executor.watch.late_s()
        if late_s < WARN_LATE_S:
            self._warned = False
            return
        ends = 0 < self._config.blocked_loop_s < late_s
        if self._warned and not ends:
            return
        self._warned = True
        job, stack = self._executor.watch.driven()
        guilty = job if isinstance(job, Execution) else None
        name = f"job {guilty.job_id} of type {guilty.job_type!r}" if guilty else "a task that no job is known of"
        log.warning("the event loop is blocked", by=name, late_s=round(late_s, 1), stack=stack)
        if ends:
            self._worker.blocked.set()
            self._journal.freeze(guilty.execution_id if guilty else None)
            raise EventLoopBlocked(f"{name} has blocked the event loop for {late_s:.0f} s")

    def _assignments(self) -> Iterator[Assignment]:
        for membership in self._memberships:
            yield from membership.assignments.values()

    def _tell_ready(self) -> None:
        """Say once that every group has told this worker its part."""
        ready = self._worker.ready
        if not ready.is_set() and all(membership.joined for membership in self._memberships):
            log.info("worker is ready", worker_id=self._config.worker_id)
            ready.set()

    def _membership(self, name: str, lanes: dict[str, str], overflow: bool) -> GroupMember:
        """A member of the group of one lane, or of all overflow topics."""
        config = self._config
        group = f"{config.group}.{name}"
        settings: dict[str, str | int | float | bool] = {
            "client_id": config.worker_id,
            "group_protocol": config.group_protocol,
            # What is fetched ahead is thrown away when a partition moves on; a window's worth is plenty.
            "queued_min_messages": 2 * config.window,
            "queued_max_messages_kbytes": 32_768,
            # A client has one fetch under way at a broker. A partition that is fetched again waits for it to return.
            "fetch_wait_max_ms": FETCH_WAIT_MS,
            # By default nothing is fetched for a second after so much was fetched ahead, however fast that is taken.
            "fetch_queue_backoff_ms": FETCH_WAIT_MS,
            "statistics_interval_ms": STATISTICS_EVERY_MS,
        }
        if config.group_protocol == "classic":
            settings |= {
                "partition_assignment_strategy": "cooperative-sticky",
                "session_timeout_ms": config.session_timeout_ms,
                "heartbeat_interval_ms": config.session_timeout_ms // 6,
            }
        if config.static_membership:
            settings["group_instance_id"] = self._worker.transactional_id
        made = self._worker.connection.consumer(group, **settings)
        consumer = Consumer({**made, "stats_cb": partial(self._metrics.read_statistics, name)})
        return GroupMember(group, consumer, lanes, overflow)

    def _poll(self) -> None:
        """Take what has arrived. Returns as soon as there is something, and in time for the next write."""
        now = time.monotonic()
        self._window.settle(now)
        if self._writer_is_behind:
            time.sleep(FULL_POLL_S)
            return
        if self._window.full:
            self._full_since = self._full_since or now
            if now - self._full_since < PAUSE_AFTER_S:
                # Pausing throws away what was fetched ahead, which costs more than a short wait.
                time.sleep(FULL_POLL_S)
                return
        elif self._window.roomy:
            self._full_since = None
        elif self._full_since and now - self._full_since < PAUSE_AFTER_S:
            time.sleep(FULL_POLL_S)
            return
        # Every group is asked also while its partitions are paused: that is how it hears of its rebalances.
        paused, arrived = self._full_since is not None, 0
        for membership in self._memberships:
            if self._window.full and not paused:
                break
            messages = membership.arrived()
            if messages:
                self._take(membership, messages)
                self._liveliest = membership
                arrived += len(messages)
        if not arrived:
            self._take(self._liveliest, self._liveliest.wait(TURN_S))

    def _take(self, membership: GroupMember, messages: list[Message]) -> None:
        taken = []
        waiting: set[Assignment] = set()
        now = time.monotonic()
        window, assignments = self._window, membership.assignments
        for message in messages:
            error = message.error()
            if error:
                self._note(error)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            assignment = assignments.get((topic, partition))
            if assignment is None or assignment in waiting:
                continue
            value = message.value()
            try:
                read = self._worker.requests.read(value)
            except RegistryUnavailable as problem:
                log.warning("waiting for the schema registry", topic=topic, partition=partition, reason=str(problem))
                membership.go_to(assignment, offset)
                waiting.add(assignment)
                continue
            except DecodeError as problem:
                if assignment.ledger.take(offset):
                    log.error("unreadable record", topic=topic, partition=partition, offset=offset, reason=str(problem))
                    letter = self._narrator.unreadable(assignment, offset, message.key(), value, problem)
                    self._pass_on(letter, offset)
                continue
            if not assignment.ledger.take(offset):
                continue
            assert value is not None
            tenant = read.alike.tenant
            too_many = not assignment.overflow and window.moves(tenant, now)
            # Jobs of one ordering key must not pass each other on two topics, so they are never moved.
            if too_many and not read.ordering_key:
                self._pass_on(OutgoingRecord(self._overflow_of[topic], tenant.encode(), value, assignment), offset)
                self._metrics.moved += 1
                continue
            window.take(tenant, len(value), assignment.overflow, kept=too_many)
            taken.append(Execution(assignment, offset, value, read))
        if taken:
            self._metrics.taken += len(taken)
            self._in_flight.update(taken)
            self._executor.submit(taken)

    def _pass_on(self, record: OutgoingRecord, offset: int) -> None:
        """Let a record go to another topic; with that its offset is done."""
        assert record.assignment is not None
        self._records.append(record)
        self._passed_on_bytes += record.size
        record.assignment.finish(offset)

    @property
    def _writer_is_behind(self) -> bool:
        """Whether as much waits to be written as one transaction takes, or passes this worker by in bytes."""
        waiting = self._writer.in_hand + len(self._batch) + len(self._records)
        return waiting >= WRITE_AT_ONCE or self._passed_on_bytes >= self._config.window_bytes

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            raise WriterBroken(f"consumer: {error.str()}")
        log.warning("consumer", reason=error.str())

    def _collect(self) -> None:
        """Move what happened into the batch. An outcome and its finished offset go together."""
        batch, executor = self._batch, self._executor
        batch.extend(self._records)
        self._records.clear()
        # What is being written may come back; until it is gone, both together are at most one batch.
        room = WRITE_AT_ONCE - self._writer.in_hand
        while executor.told and len(batch) < room:
            batch.append(executor.told.popleft())
        while executor.finished and len(batch) < room:
            execution = executor.finished.popleft()
            if execution.assignment.held:
                self._in_flight.discard(execution)
                overflow, ran_s = execution.assignment.overflow, execution.run_ms / 1000
                self._window.finish(execution.tenant, len(execution.value), overflow, ran_s)
                batch.extend(self._narrator.ended(execution))
                execution.assignment.finish(execution.offset)
                self._metrics.ended(execution)
                if execution.outcome is SUCCEEDED:
                    self._run_times.append((execution.job_type, execution.run_ms))

    def _write_when_due(self) -> None:
        if self._writer.settled:
            self._settle_write()
        if self._writer.batch is None and time.monotonic() - self._written_at >= (
            self._config.commit_interval_ms / 1000
        ):
            self._begin_write()

    def _begin_write(self) -> None:
        """Start a transaction with what happened since the last one, if anything did."""
        records = [each for each in self._batch if each.assignment is None or each.assignment.held]
        commits = [commit for membership in self._memberships if (commit := membership.commit())]
        self._written_at = time.monotonic()
        self._batch = []
        self._passed_on_bytes = 0
        if records or commits:
            self._writer.begin(TransactionBatch(records, commits))

    def _settle_write(self) -> None:
        """Wait for the transaction under way. A batch that was aborted goes first into the next one, less what belongs
        to partitions that were given up meanwhile."""
        batch = self._writer.batch
        try:
            self._writer.finish()
        except TransactionAborted as error:
            assert batch is not None
            log.warning("transaction aborted, writing it again", records=len(batch.records), reason=str(error))
            self._metrics.aborted += 1
            self._batch[:0] = self._that_fit(batch.records, error.too_large)
            for membership in self._memberships:
                membership.commit_again(batch.commits)

    def _that_fit(
        self, records: Sequence[OutgoingRecord], too_large: Sequence[OutgoingRecord]
    ) -> Sequence[OutgoingRecord]:
        """The records, with what fits instead of those that are as large as one that a broker refused."""
        refused: dict[str, int] = {}
        for each in too_large:
            refused[each.topic] = min(each.size, refused.get(each.topic, each.size))
        written: list[OutgoingRecord] = []
        for each in records:
            fits = each.size < refused.get(each.topic, math.inf)
            written += [each] if fits else self._narrator.instead_of(each)
        return written

    def _write_out(self) -> None:
        """Write what there is now, and wait for it."""
        self._settle_write()
        self._collect()
        self._begin_write()
        self._settle_write()

    def _pause_or_resume(self) -> None:
        """Fetch nothing for what is full. Polling goes on, so the group keeps this worker."""
        window = self._window
        full = self._full_since is not None and time.monotonic() - self._full_since >= PAUSE_AFTER_S
        for membership in self._memberships:
            pausing: list[Assignment] = []
            resuming: list[Assignment] = []
            for assignment in membership.assignments.values():
                if membership.overflow:
                    part = window.limit_records // 4 // len(membership.assignments) + 1
                    in_hand = assignment.ledger.in_flight * (2 if assignment.paused else 1)
                    held_back = in_hand >= part or window.overflow_full
                else:
                    held_back = full
                held_back = held_back or assignment.ledger.nearly_full
                if held_back != assignment.paused:
                    assignment.paused = held_back
                    (pausing if held_back else resuming).append(assignment)
            if pausing:
                membership.pause(pausing)
            if resuming:
                membership.resume(resuming)

    def _adapt_limit(self) -> None:
        now = time.monotonic()
        if now - self._limited_at < LIMIT_EVERY_S:
            return
        self._limited_at = now
        on_loop = {each.name for each in self._worker.jobs if each.runs_on == "loop"}
        samples = [each for each in self._run_times if each[0] in on_loop]
        self._run_times = []
        self._metrics.limit = self._config.concurrency
        if self._config.limit == "adaptive":
            host = self._worker.host
            busiest = self._executor.set_concurrency(self._limit.limit)
            limit = self._limit.update(samples, busiest, host.cpu_used, host.memory_used)
            self._executor.set_concurrency(limit)
            self._window.places = limit
            self._metrics.limit = limit

    def _drain(self) -> Drained:
        self._executor.stop_starting()
        for membership in self._memberships:
            membership.pause(list(membership.assignments.values()))
        deadline = time.monotonic() + self._config.drain_grace_s
        log.info("worker drains", running=self._executor.running, grace_s=self._config.drain_grace_s)
        while self._executor.running and time.monotonic() < deadline and not self._worker.hurry.is_set():
            for membership in self._memberships:
                # Records that were already on their way when the partitions were paused stay for the next worker.
                membership.wait(TURN_S)
            self._collect()
            self._write_when_due()
            self._worker.looped_at = time.monotonic()
        cut_short = self._executor.running > 0
        while True:
            self._write_out()
            if not (self._executor.finished or self._executor.told or self._batch or self._records):
                break
        drained = Drained.CUT_SHORT if cut_short else Drained.CLEAN
        log.info("worker stops", how=drained.value)
        return drained

    def _on_assign(self, membership: GroupMember, partitions: list[TopicPartition]) -> None:
        if self._ended or self._worker.stopping.is_set():
            # Nothing of them will be taken here.
            return
        assigned = []
        for each in self._committed(membership.consumer, partitions):
            lane = membership.lanes[each.topic]
            assignment = Assignment(each.topic, each.partition, lane, membership.overflow, born=membership.rebalances)
            if each.offset >= 0:
                assignment.ledger = OffsetLedger(Checkpoint(each.offset, each.metadata or ""))
                assignment.first_offset = each.offset
            assigned.append(assignment)
        membership.assign(assigned)
        log.info("partitions assigned", group=membership.group, partitions=_names(partitions))

    def _on_revoke(self, membership: GroupMember, partitions: list[TopicPartition]) -> None:
        if self._ended:
            return
        self._hand_over(membership, partitions)
        self._give_up(membership, partitions)
        membership.consumer.incremental_unassign(partitions)
        log.info("partitions handed over", group=membership.group, partitions=_names(partitions))

    def _hand_over(self, membership: GroupMember, partitions: list[TopicPartition]) -> None:
        """What has not begun is left to the next owner; what runs may finish here, so that it does not run twice."""
        held = membership.assignments
        leaving = [held[place] for place in _places(partitions) if place in held]
        for assignment in leaving:
            assignment.starting = False
        deadline = time.monotonic() + self._config.revoke_grace_s
        while self._begun(leaving) and time.monotonic() < deadline:
            self._collect()
            self._write_when_due()
            time.sleep(TURN_S)
        self._write_out()
        if any(each.changed for each in leaving):
            # The transaction was aborted; once more, and then what it held runs again elsewhere.
            self._write_out()

    def _on_lost(self, membership: GroupMember, partitions: list[TopicPartition]) -> None:
        if self._ended:
            return
        self._give_up(membership, partitions)
        membership.consumer.incremental_unassign(partitions)
        log.warning("partitions lost, their jobs run again elsewhere", partitions=_names(partitions))

    def _begun(self, leaving: list[Assignment]) -> bool:
        """Whether an execution of these partitions has begun and not been collected."""
        return any(each.started_us and each.assignment in leaving for each in self._in_flight)

    def _give_up(self, membership: GroupMember, partitions: list[TopicPartition]) -> None:
        for place in _places(partitions):
            assignment = membership.let_go(place)
            if assignment:
                assignment.give_up()
        for execution in [each for each in self._in_flight if not each.assignment.held]:
            self._in_flight.discard(execution)
            self._window.finish(execution.tenant, len(execution.value), execution.assignment.overflow)
        self._executor.cancel_lost()

    def _committed(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The group's commits. Waits while a transaction of a dead worker still holds them back; meanwhile what runs
        for other lanes is written."""
        while True:
            try:
                answer = consumer.committed(partitions, COMMITTED_WITHIN_S)
                errors = [each.error for each in answer if each.error]
            except KafkaException as error:
                errors = [error.args[0]]
                answer = []
            if not errors:
                return answer
            if not self._waits_on():
                raise WriterBroken(f"stopped while waiting for the group's offsets: {errors[0].str()}")
            log.warning("waiting for the group's offsets", reason=errors[0].str())
            self._collect()
            self._write_when_due()


def _places(partitions: list[TopicPartition]) -> list[tuple[str, int]]:
    return [(each.topic, each.partition) for each in partitions]


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{each.topic}[{each.partition}]" for each in partitions]
