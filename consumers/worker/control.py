"""What a worker hears besides jobs: orders on `jobs.commands`, and the beats of the other workers."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Message, Producer, TopicPartition

from millstream.consumers.worker.executor import Executor
from millstream.consumers.worker.peers import Peers
from millstream.consumers.worker.quotas import Scope, changed
from millstream.schemas import Action, Command, DecodeError, RegistryUnavailable, WorkerBeat
from millstream.schemas import Scope as CommandScope

if TYPE_CHECKING:
    from millstream.consumers.worker.runtime import Worker

log = structlog.get_logger(__name__)

POLL_S = 0.25
CAUGHT_UP_WITHIN_S = 10.0
FENCE_WITHIN_S = 10.0
_SCOPES: dict[CommandScope, Scope] = {
    CommandScope.TENANT: "tenant",
    CommandScope.JOB_TYPE: "job_type",
    CommandScope.LANE: "lane",
}


class Control:
    """Reads orders and beats on a thread of its own from entering to leaving.

    Orders stay in their compacted topic: each life of the worker obeys all that were ever given and not replaced.
    """

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._peers = Peers(worker.config.worker_id, worker.config.missed_beats)
        self._orders: dict[tuple[str, str, str], Command] = {}
        self._executor: Executor | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millstream-control", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5)

    def obey(self, executor: Executor) -> None:
        """Apply every standing order to a new executor, and those to come. Waits a moment until they are known."""
        if not self._caught_up.wait(CAUGHT_UP_WITHIN_S):
            log.warning("the orders on the command topic are not all read yet")
        with self._lock:
            self._executor = executor
            for command in self._orders.values():
                _obey(command, executor)

    def _run(self) -> None:
        worker = self._worker
        consumer = Consumer(worker.connection.consumer(f"{worker.config.group}-control"))
        places = {worker.topics.commands: OFFSET_BEGINNING, worker.topics.beats: OFFSET_END}
        try:
            consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in places.items()])
            end = self._end_of_commands(consumer)
            self._listen(consumer, end)
        except KafkaException as error:
            log.error("orders and beats are not read any more", reason=str(error))
        finally:
            self._caught_up.set()
            consumer.close()

    def _end_of_commands(self, consumer: Consumer) -> int:
        while not self._stop.is_set():
            try:
                return consumer.get_watermark_offsets(TopicPartition(self._worker.topics.commands, 0), 5)[1]
            except KafkaException as error:
                log.warning("waiting for the command topic", reason=error.args[0].str())
        return 0

    def _listen(self, consumer: Consumer, end: int) -> None:
        commands = self._worker.topics.commands
        while not self._stop.is_set():
            if not self._caught_up.is_set():
                position = consumer.position([TopicPartition(commands, 0)])[0].offset
                if position >= end or end == 0:
                    self._caught_up.set()
            message = consumer.poll(POLL_S if self._caught_up.is_set() else 0.05)
            if message is None:
                continue
            if message.error():
                log.warning("control", reason=message.error().str())  # type: ignore[union-attr]
            elif message.value() is not None:
                self._hear(message, is_command=message.topic() == commands)

    def _hear(self, message: Message, is_command: bool) -> None:
        while not self._stop.is_set():
            try:
                self._read(message, is_command)
                return
            except RegistryUnavailable as error:
                log.warning("waiting for the schema registry", reason=str(error))
                self._stop.wait(1)

    def _read(self, message: Message, is_command: bool) -> None:
        try:
            if is_command:
                self._order(self._worker.codec.decode(message.value(), Command))
            else:
                beat = self._worker.codec.decode(message.value(), WorkerBeat)
                for worker_id, transactional_id in self._peers.heard(beat, time.monotonic()):
                    self._fence(worker_id, transactional_id)
        except DecodeError as error:
            log.error(
                "order ignored" if is_command else "beat ignored",
                key=(message.key() or b"").decode(errors="replace"),
                topic=message.topic(),
                offset=message.offset(),
                reason=str(error),
            )

    def _order(self, command: Command) -> None:
        kind = "paused" if command.action in (Action.PAUSE, Action.RESUME) else command.action.value
        with self._lock:
            self._orders[command.scope.value, command.target, kind] = command
            if self._executor is not None:
                _obey(command, self._executor)
        log.info("order", action=command.action.value, scope=command.scope.value, target=command.target)

    def _fence(self, worker_id: str, transactional_id: str) -> None:
        """End what a silent worker left open, on a thread of its own: a coordinator may take its time."""
        self._worker.metrics.fenced += 1
        log.warning("a worker fell silent, its transaction is ended", silent=worker_id)

        def fence() -> None:
            settings = self._worker.connection.producer(transactional_id=transactional_id)
            try:
                Producer(settings).init_transactions(FENCE_WITHIN_S)
            except KafkaException as error:
                log.warning("fencing failed", silent=worker_id, reason=error.args[0].str())

        threading.Thread(target=fence, name="millstream-fence", daemon=True).start()


def _obey(command: Command, executor: Executor) -> None:
    """Do what an order says. One that cannot be done hinders no other: anybody who may write to the topic gives it."""
    try:
        _apply(command, executor)
    except Exception as error:
        log.error(
            "order not obeyed",
            action=command.action.value,
            scope=command.scope.value,
            target=command.target,
            reason=str(error),
        )


def _apply(command: Command, executor: Executor) -> None:
    target = command.target
    if command.action is Action.CANCEL_JOB:
        executor.cancel(target, command.reason or f"called off by {command.issued_by or 'an operator'}")
        return
    scope = _SCOPES[command.scope]
    if command.action is Action.SET_QUOTA:
        fields = {
            "max_concurrency": command.max_concurrency,
            "max_per_second": command.max_per_second,
            "weight": command.weight,
        }
        executor.change_quotas(lambda quotas: quotas.set(scope, target, changed(quotas.quota(scope, target), **fields)))
    else:
        executor.change_quotas(lambda quotas: quotas.pause(scope, target, command.action is Action.PAUSE))
