"""The session: ready once every group has answered, and a drain that commits everything that ran."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.denied_rights import DeniedRights
from millstream.consumers.worker import idleness
from millstream.consumers.worker import intake as intake_module
from millstream.consumers.worker import session as session_module
from millstream.consumers.worker.denied_partitions import DeniedPartitions
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Started
from millstream.consumers.worker.loop_guard import TooManyStuckHandlers
from millstream.consumers.worker.session import Drained, WorkerSession
from millstream.schemas import KafkaConnection
from tests.support.scripted_group import ScriptedMessage, request
from tests.support.waiting import until
from tests.unit.consumers.worker.conftest import TOPIC, Parts


class ScriptedExecutor:
    """Executes nothing by itself. `kept`: what of `submitted` was live when it was told to cancel everything."""

    def __init__(self, submitted: list[Execution]) -> None:
        self.running = 0
        self.starting = True
        self.stopped = False
        self.kept: list[Execution] = []
        self._submitted = submitted

    def running_now(self) -> list[Any]:
        return [SimpleNamespace(retained=False)] * self.running

    def stop_starting(self) -> None:
        self.starting = False

    def cancel_all(self, within_s: float) -> None:
        self.stopped = True
        self.kept = [each for each in self._submitted if each.live]


class Nothing:
    """A part with nothing to do."""

    stuck: TooManyStuckHandlers | None = None
    turns = 0
    """How often the loop has gone round."""

    def check(self) -> None:
        self.turns += 1

    def too_many_stuck(self) -> TooManyStuckHandlers | None:
        return self.stuck

    def run_once(self) -> None:
        return


class Running:
    """A session on a thread, from `with` to `finish`."""

    def __init__(self, parts: Parts, grace_s: float = 5.0) -> None:
        self.parts = parts
        self.executor = ScriptedExecutor(parts.submitted)
        parts.member.rejoining = False
        self.result: Drained | None = None
        self._grace_s = grace_s
        executor: Any = self.executor
        self.guard = Nothing()
        self.error: TooManyStuckHandlers | None = None
        nothing: Any = self.guard
        self.session = WorkerSession(
            parts.status,
            [parts.member],
            executor,
            parts.intake,
            parts.commit_loop,
            parts.handover,
            nothing,
            nothing,
            DeniedPartitions(
                [parts.member],
                DeniedRights(KafkaConnection("nowhere:1")),
                parts.status,
                parts.handover.drop,
                lambda: None,
            ),
        )
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.result = self.session.run(self._grace_s)
        except TooManyStuckHandlers as error:
            self.error = error

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def taken(self) -> Execution:
        """Let one request arrive, and return its execution once it was submitted."""
        self.parts.consumer.arriving.append([ScriptedMessage(TOPIC, 0, 0, request(self.parts.codec))])
        until(lambda: len(self.parts.submitted) > 0)
        return self.parts.submitted[0]

    def finish(self) -> Drained | None:
        self.parts.status.stopping.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.result


def test_a_worker_is_ready_when_every_group_has_sent_its_part(parts: Parts) -> None:
    with Running(parts):
        time.sleep(0.05)
        assert not parts.status.ready.is_set()
        parts.member.joined = True
        assert parts.status.ready.wait(5)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker is idle as soon as it has nothing to do."""
    monkeypatch.setattr(idleness, "IDLE_AFTER_S", -1.0)
    monkeypatch.setattr(intake_module, "IDLE_POLL_S", 0.0)


@pytest.mark.usefixtures("idle")
def test_an_idle_worker_looks_for_jobs_more_often_than_its_other_parts_have_their_turn(parts: Parts) -> None:
    parts.assign(0)
    polls = counted(parts.consumer, "poll")
    with Running(parts) as running:
        until(lambda: len(polls) > 100)
    turns = running.guard.turns
    assert turns <= len(polls) / session_module.IDLE_POLLS + 2


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("work", ["held_back", "unwritten"])
def test_while_there_is_work_for_them_the_other_parts_have_their_turn_after_each_poll(parts: Parts, work: str) -> None:
    parts.assign(0)
    if work == "held_back":
        parts.status.held_back = {"jobs.default[1]": "its last transaction is under way"}
        parts.takeover.run_once = lambda: None  # type: ignore[method-assign]
    else:
        parts.facts.append(Started(parts.take_requests(1)[0]))
        parts.commit_loop.run_once = lambda: None  # type: ignore[method-assign]
    polls = counted(parts.consumer, "poll")
    running = Running(parts)
    with running:
        until(lambda: len(polls) > 20)
        turns, polled = running.guard.turns, len(polls)
        parts.facts.clear()
    assert turns >= polled - 1


def counted(consumer: Any, name: str) -> list[None]:
    """As many entries as there were calls of this method."""
    calls: list[None] = []
    method = getattr(consumer, name)

    def call(*arguments: Any) -> Any:
        calls.append(None)
        return method(*arguments)

    setattr(consumer, name, call)
    return calls


def test_a_drain_waits_for_what_runs_and_commits_it(parts: Parts) -> None:
    parts.assign(0)
    with Running(parts) as running:
        execution = running.taken()
        running.executor.running = 1
        parts.start(execution)
        parts.status.stopping.set()
        until(lambda: not running.executor.starting)
        parts.succeed(execution)
        running.executor.running = 0
        assert running.finish() is Drained.CLEAN
    assert parts.committed() == {0: 1}


def test_a_drain_ends_with_its_grace_period_and_leaves_what_runs_uncommitted(parts: Parts) -> None:
    parts.assign(0)
    with Running(parts, grace_s=0.05) as running:
        execution = running.taken()
        running.executor.running = 1
        parts.start(execution)
        assert running.finish() is Drained.CUT_SHORT
    assert parts.committed() == {}


def test_a_second_stop_ends_the_grace_period_at_once(parts: Parts) -> None:
    parts.assign(0)
    with Running(parts, grace_s=60) as running:
        execution = running.taken()
        running.executor.running = 1
        parts.start(execution)
        parts.status.stopping.set()
        parts.status.stop_now.set()
        assert running.finish() is Drained.CUT_SHORT


def test_the_poll_thread_goes_round_while_a_drain_lasts(parts: Parts) -> None:
    with Running(parts, grace_s=5) as running:
        running.executor.running = 1
        parts.status.stopping.set()
        until(lambda: not running.executor.starting)
        before = parts.status.polled_at
        until(lambda: parts.status.polled_at > before)
        running.executor.running = 0


def test_a_session_that_ended_executes_nothing_and_has_left_its_groups(parts: Parts) -> None:
    parts.assign(0)
    with Running(parts) as running:
        execution = running.taken()
    running.session.stop_executing()
    running.session.leave_groups()
    assert running.executor.stopped and not execution.live
    assert parts.consumer.calls[-1] == ("close", None)


def test_the_executor_keeps_nothing_of_lost_partitions_for_the_next_session(parts: Parts) -> None:
    """It did, and the ordering keys of those jobs stood still until the next rebalance."""
    parts.assign(0)
    (lost,) = parts.take_requests(1, ordering_key="invoice-7")
    running = Running(parts)
    parts.handover.on_lost(parts.member, [TopicPartition(TOPIC, 0)])
    assert lost.live, "it may go on while nobody else has the partition"
    running.session.stop_executing()
    assert running.executor.stopped and running.executor.kept == []


def test_a_worker_with_too_many_stuck_handlers_drains_and_ends_with_their_error(parts: Parts) -> None:
    parts.assign(0)
    with Running(parts) as running:
        execution = running.taken()
        running.executor.running = 1
        parts.start(execution)
        running.guard.stuck = TooManyStuckHandlers("of type 'reports.render'")
        until(lambda: not running.executor.starting)
        parts.succeed(execution)
        running.executor.running = 0
        until(lambda: running.error is not None)
    assert running.error is running.guard.stuck
    assert parts.committed() == {0: 1}


def test_the_members_are_polled_while_nothing_can_be_written(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.assign(0)
    parts.unwritten.unwritable["jobs.events"] = parts.access.unwritable["jobs.events"] = "unknown topic"
    polls: list[float] = []
    poll = parts.consumer.poll

    def counted(timeout: float) -> ScriptedMessage | None:
        polls.append(timeout)
        return poll(timeout)

    monkeypatch.setattr(parts.consumer, "poll", counted)
    with Running(parts):
        until(lambda: parts.consumer.paused == {(TOPIC, 0)})
        before = len(polls)
        until(lambda: len(polls) > before + 3)
    assert parts.submitted == []


def test_a_stop_is_obeyed_while_nothing_can_be_written(parts: Parts) -> None:
    parts.assign(0)
    with Running(parts, grace_s=0.2) as running:
        execution = running.taken()
        parts.unwritten.unwritable["jobs.events"] = parts.access.unwritable["jobs.events"] = "unknown topic"
        parts.start(execution)
        parts.succeed(execution)
        assert running.finish() is Drained.CUT_SHORT
    assert parts.committed() == {}
