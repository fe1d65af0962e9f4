"""What a worker tells the others and learns of them, and what operators tell all of them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from millstream.consumers.kafka.broker_status import BROKERS_INTERVAL_MS
from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.commands import ActiveCommands
from millstream.consumers.worker.coordination.group_members import group_members
from millstream.consumers.worker.coordination.heartbeat import HeartbeatSender
from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess
from millstream.consumers.worker.coordination.listener import CoordinationListener
from millstream.consumers.worker.coordination.new_partitions import NewPartitions
from millstream.consumers.worker.coordination.open_questions import OpenQuestions
from millstream.consumers.worker.coordination.worker_watch import WorkerWatch
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.schemas.connection import for_another_process
from millstream.schemas.ids import new_id

FENCED_LATELY_S = 120.0
"""How long a worker that started over may have been ended by another of its name."""


class Coordination:
    """Sends heartbeats, watches those of the others and follows commands, from entering to leaving.

    `groups`: the consumer groups of this worker. `fence` ends the right of a worker, by its id, to write. `incarnation`
    is an id of this process alone.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: TopicCatalogue,
        codec: Codec,
        config: WorkerConfig,
        lanes: Sequence[str],
        groups: Sequence[str],
        transactional_id: str,
        status: WorkerStatus,
        host: HostGauge,
        metrics: WorkerMetrics,
        new_partitions: NewPartitions,
        fence: Callable[[str], Future[None]],
    ) -> None:
        self._status = status
        own = WorkerProcess(config.worker_id, new_id(), config.host, os.getpid(), tuple(groups))
        self.incarnation = own.incarnation
        self._commands = ActiveCommands(codec, topics.retention_s)
        self._questions = OpenQuestions()
        self._watch = WorkerWatch(
            codec,
            own,
            config.heartbeat_misses,
            self._questions,
            partial(group_members, connection),
            fence,
            metrics,
            status.end_for_conflict,
            started_over=partial(status.started_over_within, FENCED_LATELY_S) if config.static_membership else None,
        )
        self._heartbeats = HeartbeatSender(
            # The worker's own clients say what is wrong with the connection.
            for_another_process(
                connection.quiet.producer(linger_ms=0, message_timeout_ms=5_000, client_id=config.worker_id)
            ),
            topics.heartbeats,
            codec,
            config,
            own,
            transactional_id,
            lanes,
            status,
            host,
        )
        # A fetch at the end of a topic returns after this time, and jobs start when the commands are read to their end.
        settings: dict[str, Any] = dict(
            connection.consumer(
                f"{config.group}-coordination",
                fetch_wait_max_ms=config.fetch_wait_ms,
                statistics_interval_ms=BROKERS_INTERVAL_MS,
            )
        )
        # It reads before any lane is, so it is the first that can tell whether a broker answers.
        settings["stats_cb"] = partial(status.brokers.read_statistics, "coordination")
        self._denied = DeniedRights(connection)
        self._listener = CoordinationListener(
            settings, topics, self._commands, self._watch, new_partitions, self._denied, metrics.count_rejected
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for part in (self._heartbeats, self._questions, self._listener):
            self._stack.enter_context(part)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def may_start(self, executor: Executor, check_name: bool) -> bool:
        """Wait until jobs may start: every active command is applied to the executor, and, with `check_name`, no other
        process has this worker's id. Returns False when the worker is to stop instead."""
        keep_waiting = self._status.keep_waiting
        if not self._commands.apply_to(executor, keep_waiting):
            return False
        if check_name:
            self._watch.await_own_name(keep_waiting)
        self._watch.joined = True
        return keep_waiting()

    def writes_no_more(self, worker_id: str, transactional_id: str, since: float) -> bool:
        """Whether a worker writes nothing more under `transactional_id`, as far as heartbeats show (`WorkerWatch`)."""
        return self._watch.writes_no_more(worker_id, transactional_id, since)

    def all_understand(self) -> bool:
        """Whether every worker that was heard of lately understands what this one announces."""
        return self._watch.all_understand()
