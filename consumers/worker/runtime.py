"""The worker: poll -> ledger -> executor -> outcome -> commit.

One thread, the caller's, owns the consumer, the ledgers and the transactional producer, and never runs a job, so no
lock is needed anywhere and polling goes on however long a job runs. Handlers run on the executor's threads; what they
did comes back through two deques.
"""

import enum
import threading
import time
from collections import deque

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from millstream.consumers.worker.assignment import Assignment
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.execution import Execution
from millstream.consumers.worker.executor import Executor
from millstream.consumers.worker.jobs import JobTypes, registered
from millstream.consumers.worker.ledger import Checkpoint, OffsetLedger
from millstream.consumers.worker.narrator import Narrator, OutgoingRecord
from millstream.consumers.worker.transaction import OutcomeWriter, TransactionAborted, WriterBroken
from millstream.schemas import Codec, DecodeError, EventBytes, KafkaConnection, TopicCatalogue

log = structlog.get_logger(__name__)

IDLE_POLL_S = 0.25
TAKE_AT_ONCE = 500
WRITE_AT_ONCE = 5_000


class Drained(enum.Enum):
    """How a worker ended."""

    CLEAN = "everything it had begun is finished and written"
    CUT_SHORT = "the grace period ended first; what was running will be redelivered"


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
        self.config = config or WorkerConfig()
        self.ready = threading.Event()
        self.connection = connection
        self.topics = topics
        self.jobs = registered if jobs is None else jobs
        self.codec = codec or Codec()
        self.events = EventBytes(self.codec)
        self.lanes = list(self.config.lanes or topics.lanes)
        self.stopping = threading.Event()
        self.hurry = threading.Event()

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
        while True:
            life = _Life(self)
            try:
                return life.live()
            except WriterBroken as error:
                # Offsets that were committed stay, everything else is redelivered to the new life or another worker.
                log.error("transactional producer lost, starting over", reason=str(error))
            finally:
                life.end()


class _Life:
    """A worker from joining the group to leaving it; after a fatal producer error another one follows."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._config = config = worker.config
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._in_flight: set[Execution] = set()
        self._records: deque[OutgoingRecord] = deque()
        self._batch: list[OutgoingRecord] = []
        self._paused = False
        self._rebalances = 0
        self._written_at = time.monotonic()
        narrator = Narrator(worker.topics, worker.codec, config)
        self._narrator = narrator
        self._executor = Executor(worker.jobs, narrator, config)
        self._writer = OutcomeWriter(
            worker.connection,
            f"{worker.topics.prefix}worker-{config.worker_id}",
            config.transaction_timeout_ms,
        )
        self._consumer = Consumer(
            worker.connection.consumer(
                config.group,
                client_id=config.worker_id,
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=config.session_timeout_ms,
                heartbeat_interval_ms=config.session_timeout_ms // 4,
                # What is fetched ahead is thrown away when a partition moves on; a window's worth is plenty.
                queued_min_messages=2 * config.window,
                queued_max_messages_kbytes=32_768,
            )
        )

    def live(self) -> Drained:
        worker = self._worker
        self._writer.open()
        self._executor.start()
        self._consumer.subscribe(
            [worker.topics.lane(lane) for lane in worker.lanes],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        while not worker.stopping.is_set():
            self._poll()
            self._write_when_due()
            self._pause_or_resume()
        return self._drain()

    def end(self) -> None:
        for assignment in self._assignments.values():
            assignment.give_up()
        self._executor.stop()
        self._consumer.close()

    def _poll(self) -> None:
        """Take what has arrived. Returns as soon as there is something, and in time for the next write."""
        timeout = IDLE_POLL_S
        if self._in_flight or self._records or self._batch:
            timeout = max(0.0, self._written_at + self._config.commit_interval_ms / 1000 - time.monotonic())
        first = self._consumer.poll(timeout)
        if first is None:
            return
        self._take([first])
        rebalances = self._rebalances
        more = self._consumer.consume(TAKE_AT_ONCE, 0)
        self._take(more if self._rebalances == rebalances else self._rewound(more))

    def _rewound(self, messages: list[Message]) -> list[Message]:
        """The messages of partitions that stayed. A rebalance ran while these were fetched: whether one of a new
        assignment belongs to it or to the one before cannot be told, so those partitions start from their commit."""
        new = {place: each for place, each in self._assignments.items() if each.born == self._rebalances}
        for assignment in new.values():
            self._consumer.seek(TopicPartition(*assignment.place, assignment.first_offset))
        return [each for each in messages if each.error() or (each.topic(), each.partition()) not in new]

    def _take(self, messages: list[Message]) -> None:
        taken = []
        for message in messages:
            error = message.error()
            if error:
                self._note(error)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            assignment = self._assignments.get((topic, partition))
            if assignment is None or not assignment.ledger.take(offset):
                continue
            value = message.value()
            try:
                read = self._worker.events.read_request(value)
            except DecodeError as problem:
                log.error("unreadable record", topic=topic, partition=partition, offset=offset, reason=str(problem))
                self._records.append(self._narrator.unreadable(assignment, offset, message.key(), value, problem))
                assignment.finish(offset)
                continue
            taken.append(Execution(assignment, offset, value or b"", read))
        if taken:
            self._in_flight.update(taken)
            self._executor.submit(taken)

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            raise WriterBroken(f"consumer: {error.str()}")
        log.warning("consumer", reason=error.str())

    def _write_when_due(self) -> None:
        if time.monotonic() - self._written_at >= self._config.commit_interval_ms / 1000:
            self._write()

    def _write(self) -> None:
        """One transaction with what happened since the last one, if anything did. A batch that was aborted is kept
        and goes first into the next one, less what belongs to partitions that were given up meanwhile."""
        self._collect()
        self._batch = [each for each in self._batch if each.assignment is None or each.assignment.held]
        offsets = [offset for each in self._assignments.values() if (offset := each.offset_to_commit())]
        self._written_at = time.monotonic()
        if not self._batch and not offsets:
            return
        try:
            self._writer.write(self._batch, offsets, self._consumer)
        except TransactionAborted as error:
            log.warning("transaction aborted, writing it again", records=len(self._batch), reason=str(error))
            return
        self._batch.clear()
        for assignment in self._assignments.values():
            assignment.changed = False

    def _collect(self) -> None:
        """Move what the executor did into the batch. An outcome and its finished offset go together."""
        batch, executor = self._batch, self._executor
        batch.extend(self._records)
        self._records.clear()
        while executor.told and len(batch) < WRITE_AT_ONCE:
            batch.append(executor.told.popleft())
        while executor.finished and len(batch) < WRITE_AT_ONCE:
            execution = executor.finished.popleft()
            self._in_flight.discard(execution)
            if execution.assignment.held:
                batch.extend(self._narrator.ended(execution))
                execution.assignment.finish(execution.offset)

    def _pause_or_resume(self) -> None:
        """Stop fetching while the window or a ledger is full. Polling goes on, so the group keeps this worker."""
        full = len(self._in_flight) >= self._config.window or any(
            each.ledger.nearly_full for each in self._assignments.values()
        )
        roomy = len(self._in_flight) <= self._config.window // 2
        if full and not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        elif self._paused and roomy and not full:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def _drain(self) -> Drained:
        self._executor.stop_starting()
        self._consumer.pause(self._consumer.assignment())
        deadline = time.monotonic() + self._config.drain_grace_s
        log.info("worker drains", running=self._executor.running, grace_s=self._config.drain_grace_s)
        while self._executor.running and time.monotonic() < deadline and not self._worker.hurry.is_set():
            # Records that were already on their way when the partitions were paused stay for the next worker.
            self._consumer.poll(self._config.commit_interval_ms / 1000)
            self._write_when_due()
        cut_short = self._executor.running > 0
        while self._executor.finished or self._executor.told or self._batch:
            self._write()
        drained = Drained.CUT_SHORT if cut_short else Drained.CLEAN
        log.info("worker stops", how=drained.value)
        return drained

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        for each in self._committed(consumer, partitions):
            assignment = Assignment(each.topic, each.partition, born=self._rebalances)
            if each.offset >= 0:
                assignment.ledger = OffsetLedger(Checkpoint(each.offset, each.metadata or ""))
                assignment.first_offset = each.offset
            self._assignments[assignment.place] = assignment
        consumer.incremental_assign(
            [TopicPartition(*place, self._assignments[place].first_offset) for place in _places(partitions)]
        )
        if self._paused:
            consumer.pause(partitions)
        log.info("partitions assigned", partitions=_names(partitions))
        self._worker.ready.set()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What has not begun is left to the next owner; what runs may finish here, so that it does not run twice.
        leaving = [self._assignments[place] for place in _places(partitions) if place in self._assignments]
        for assignment in leaving:
            assignment.starting = False
        deadline = time.monotonic() + self._config.revoke_grace_s
        while time.monotonic() < deadline and self._unwritten(leaving):
            self._write()
            time.sleep(0.005)
        self._write()
        self._give_up(partitions)
        consumer.incremental_unassign(partitions)
        log.info("partitions handed over", partitions=_names(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(partitions)
        consumer.incremental_unassign(partitions)
        log.warning("partitions lost, their jobs run again elsewhere", partitions=_names(partitions))

    def _unwritten(self, leaving: list[Assignment]) -> bool:
        """Whether an execution of these partitions has begun and its outcome is not committed."""
        return any(each.changed for each in leaving) or any(
            each.started_at is not None and each.assignment in leaving for each in self._in_flight
        )

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        for place in _places(partitions):
            assignment = self._assignments.pop(place, None)
            if assignment:
                assignment.give_up()
        self._in_flight = {each for each in self._in_flight if each.assignment.held}

    def _committed(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The group's commits. Waits while a transaction of a dead worker still holds them back."""
        while True:
            try:
                answer = consumer.committed(partitions, 10)
                errors = [each.error for each in answer if each.error]
            except KafkaException as error:
                errors = [error.args[0]]
                answer = []
            if not errors:
                return answer
            if self._worker.hurry.is_set():
                raise WriterBroken(f"stopped while waiting for the group's offsets: {errors[0].str()}")
            log.warning("waiting for the group's offsets", reason=errors[0].str())


def _places(partitions: list[TopicPartition]) -> list[tuple[str, int]]:
    return [(each.topic, each.partition) for each in partitions]


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{each.topic}[{each.partition}]" for each in partitions]
