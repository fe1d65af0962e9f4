"""What a worker hears besides jobs: orders on `jobs.commands`, and the beats of the other workers."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from millstream.consumers.worker.coordination.failure_detector import FailureDetector
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.scheduling.quotas import Scope
from millstream.schemas import Action, Command, DecodeError, Heartbeat, RegistryUnavailable
from millstream.schemas import Scope as CommandScope

if TYPE_CHECKING:
    from millstream.consumers.worker.worker import Worker

log = structlog.get_logger(__name__)

POLL_S = 0.25
CAUGHT_UP_WITHIN_S = 10.0
FENCE_WITHIN_S = 10.0
_SCOPES: dict[CommandScope, Scope] = {
    CommandScope.TENANT: "tenant",
    CommandScope.JOB_TYPE: "job_type",
    CommandScope.LANE: "lane",
}


class CommandListener:
    """Reads orders and beats on a thread of its own from entering to leaving.

    Orders stay in their compacted topic: each life of the worker obeys all that were ever given, except those that were
    replaced or taken back.
    """

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._peers = FailureDetector(worker.config.worker_id, worker.config.heartbeat_misses)
        self._orders: dict[bytes, Command] = {}
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
        settings = worker.connection.consumer(f"{worker.config.group}-control", enable_partition_eof=True)
        consumer = Consumer(settings)
        places = {worker.topics.commands: OFFSET_BEGINNING, worker.topics.heartbeats: OFFSET_END}
        try:
            consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in places.items()])
            self._listen(consumer)
        except KafkaException as error:
            log.error("orders and beats are not read any more", reason=str(error))
        finally:
            self._caught_up.set()
            consumer.close()

    def _listen(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            is_command = message.topic() == self._worker.topics.commands
            error = message.error()
            if error is None:
                self._hear(message, is_command)
            elif error.code() != KafkaError._PARTITION_EOF:
                log.warning("control", reason=error.str())
            elif is_command:
                self._caught_up.set()

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
            if is_command and message.value() is None:
                self._take_back(message.key() or b"")
            elif is_command:
                self._order(self._worker.codec.decode(message.value(), Command))
            else:
                beat = self._worker.codec.decode(message.value(), Heartbeat)
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
        with self._lock:
            self._orders[command.key] = command
            if self._executor is not None:
                _obey(command, self._executor)
        log.info("order", action=command.action.value, scope=command.scope.value, target=command.target)

    def _take_back(self, key: bytes) -> None:
        with self._lock:
            command = self._orders.pop(key, None)
            if command is not None and self._executor is not None:
                _obey(command, self._executor, stands=False)

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


def _obey(command: Command, executor: Executor, stands: bool = True) -> None:
    """Do what an order says, or undo it when it does not stand any more. One that cannot be done hinders no other:
    anybody who may write to the topic gives it."""
    try:
        _apply(command, executor, stands)
    except Exception as error:
        log.error(
            "order not obeyed",
            action=command.action.value,
            scope=command.scope.value,
            target=command.target,
            reason=str(error),
        )


def _apply(command: Command, executor: Executor, stands: bool) -> None:
    target = command.target
    if command.action is Action.CANCEL_JOB:
        if stands:
            executor.cancel(target, command.reason or f"called off by {command.issued_by or 'an operator'}")
        else:
            executor.forget_cancellation(target)
        return
    scope = _SCOPES[command.scope]
    if command.action is Action.SET_QUOTA:
        limits = command.limits if stands else {}
        executor.change_quotas(lambda quotas: quotas.order(scope, target, **limits))
    else:
        paused = stands and command.action is Action.PAUSE
        executor.change_quotas(lambda quotas: quotas.pause(scope, target, paused))
