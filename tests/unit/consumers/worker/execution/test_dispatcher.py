"""Which execution starts next and in which slot. Handlers are scripted: they run until the test lets them end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from millstream.consumers.worker import JobTypes
from millstream.consumers.worker.execution import outcome, stopping
from millstream.consumers.worker.execution.attempt import PutBack
from millstream.consumers.worker.execution.cancellations import Cancellation
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.dispatcher import Dispatcher
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.queues import Queues
from millstream.consumers.worker.execution.registry import RunsOn
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.scheduling.fair_queue import FairQueue
from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys
from millstream.consumers.worker.scheduling.quotas import Quotas
from millstream.schemas import EventKind
from tests.unit.consumers.worker.execution.made import execution

jobs = JobTypes()


@jobs.job("coroutine")
async def coroutine() -> None:
    """Never called: attempts are scripted."""


@jobs.job("function")
def function() -> None:
    """Never called: attempts are scripted."""


class Dispatched:
    """A dispatcher with two slots of each kind, whose attempts end when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.quotas = Quotas()
        kinds: tuple[RunsOn, ...] = ("loop", "thread", "process")
        self.slots = {kind: Slots(kind, 2, FairQueue(("default",), self.quotas)) for kind in kinds}
        self.journal = CrashJournal(folder / "crash_journal", 8)
        self.facts: list[Fact] = []
        self.started: list[Execution] = []
        self.two_started = asyncio.Event()
        self.ends: dict[Execution, asyncio.Event] = {}
        self.ended: list[Outcome | PutBack] = []
        """How the next attempts end; with success where nothing is said."""
        self.stubborn = False
        """Whether attempts go on when they are cancelled."""
        self.queues = Queues(jobs, self.slots, OrderingKeys[Execution](), self.journal, unknown_type_grace_s=0.3)
        self.dispatcher = Dispatcher(
            asyncio.get_running_loop(), self.queues, self.slots, self.quotas, self.journal, self, self.facts.append
        )

    async def admit(self, *executions: Execution) -> None:
        self.dispatcher.admit(list(executions))
        await settled()

    async def end(self, execution: Execution) -> None:
        self.ends[execution].set()
        await settled()

    async def run(self, execution: Execution, runs_on: RunsOn) -> Outcome | PutBack:
        self.started.append(execution)
        self.ends[execution] = asyncio.Event()
        if len(self.started) == 2:
            self.two_started.set()
        self.dispatcher.on_first_wait()
        while not self.ends[execution].is_set():
            try:
                await self.ends[execution].wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    return execution.ends_as or PutBack("cancelled by nobody")
        return self.ended.pop(0) if self.ended else SUCCEEDED

    def conclude(self, execution: Execution, ended: Outcome) -> None:
        execution.end(ended)


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until_async(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
async def dispatched(tmp_path: Path) -> AsyncIterator[Dispatched]:
    made = Dispatched(tmp_path)
    yield made
    made.dispatcher.accepting = False
    for end in made.ends.values():
        end.set()
    await settled()


@pytest.fixture
def three() -> list[Execution]:
    return [execution("coroutine") for _ in range(3)]


async def test_executions_start_while_slots_are_free_and_the_next_one_when_one_ends(
    dispatched: Dispatched, three: list[Execution]
) -> None:
    await dispatched.admit(*three)
    assert dispatched.started == three[:2]
    await dispatched.end(three[0])
    assert dispatched.started == three


async def test_each_execution_is_reported_when_it_starts_and_when_it_ends(dispatched: Dispatched) -> None:
    one = execution("coroutine")
    await dispatched.admit(one)
    assert dispatched.facts == [Started(one)]
    await dispatched.end(one)
    assert dispatched.facts == [Started(one), Finished(one)]


async def test_a_full_kind_of_slots_does_not_delay_another_kind(dispatched: Dispatched, three: list[Execution]) -> None:
    plain = execution("function")
    await dispatched.admit(*three, plain)
    assert plain in dispatched.slots["thread"].running


async def test_jobs_of_one_ordering_key_run_one_after_the_other_in_their_order(dispatched: Dispatched) -> None:
    keyed = [execution("coroutine", ordering_key="k") for _ in range(3)]
    await dispatched.admit(*keyed)
    for number, each in enumerate(keyed):
        assert dispatched.started == keyed[: number + 1]
        await dispatched.end(each)


async def test_a_paused_tenant_starts_nothing_until_it_is_resumed(dispatched: Dispatched) -> None:
    dispatched.dispatcher.change_quotas(lambda quotas: quotas.pause("tenant", "acme"))
    waiting = execution("coroutine")
    await dispatched.admit(waiting)
    assert dispatched.started == []
    dispatched.dispatcher.change_quotas(lambda quotas: quotas.pause("tenant", "acme", False))
    await settled()
    assert dispatched.started == [waiting]


async def test_a_rate_limit_starts_the_next_execution_by_itself(dispatched: Dispatched) -> None:
    dispatched.dispatcher.change_quotas(lambda quotas: quotas.apply_limits("tenant", "acme", max_per_second=1.9))
    limited = [execution("coroutine") for _ in range(2)]
    await dispatched.admit(*limited)
    assert dispatched.started == limited[:1], "0.9 of the burst of 1.9 are left"
    await asyncio.wait_for(dispatched.two_started.wait(), 20)
    assert dispatched.started == limited


async def test_nothing_starts_when_the_dispatcher_does_not_accept(dispatched: Dispatched) -> None:
    dispatched.dispatcher.accepting = False
    await dispatched.admit(execution("coroutine"), execution("function"))
    assert dispatched.started == []


async def test_a_poison_suspect_runs_in_a_process_of_its_own(dispatched: Dispatched) -> None:
    suspect = execution("coroutine")
    dispatched.journal.poison_suspects.add(suspect.job_id)
    await dispatched.admit(suspect, execution("coroutine"))
    assert dispatched.slots["process"].running == {suspect}


async def test_a_job_is_in_the_crash_journal_while_it_runs(dispatched: Dispatched, tmp_path: Path) -> None:
    one = execution("coroutine")
    await dispatched.admit(one)
    assert one.job_id.encode() in (tmp_path / "crash_journal").read_bytes()
    await dispatched.end(one)
    assert one.job_id.encode() not in (tmp_path / "crash_journal").read_bytes()


async def test_what_waits_for_a_lost_partition_never_starts_and_frees_its_ordering_key(dispatched: Dispatched) -> None:
    running, lost, following = (execution("coroutine", ordering_key=key) for key in ("a", "k", "k"))
    blocking = execution("coroutine")
    await dispatched.admit(running, blocking, lost, following)
    lost.assignment.may_start = lost.assignment.held = False
    dispatched.dispatcher.cancel_lost()
    await dispatched.end(running)
    await dispatched.end(blocking)
    assert lost not in dispatched.started
    assert dispatched.started[-1] is following


@pytest.mark.parametrize("end", ["cancel_lost", "cancel_all"])
@pytest.mark.parametrize("waits", ["in the queue", "for its previous owner", "for its partition", "for a known type"])
async def test_whatever_a_dropped_execution_waited_for_its_ordering_key_is_free(
    dispatched: Dispatched, waits: str, end: str
) -> None:
    dropped = execution("new" if waits == "for a known type" else "coroutine", ordering_key="k")
    dropped.awaited = waits == "for its previous owner"
    dropped.assignment.writable = waits != "for its partition"
    dispatched.dispatcher.accepting = waits != "in the queue"
    await dispatched.admit(dropped)
    assert dispatched.started == []
    dropped.assignment.release()
    getattr(dispatched.dispatcher, end)()
    dispatched.dispatcher.accepting = True
    again = execution("coroutine", ordering_key="k")
    await dispatched.admit(again)
    assert dispatched.started == [again]


async def test_a_handler_that_goes_on_when_it_is_cancelled_frees_its_slot_and_is_asked_again(
    dispatched: Dispatched, three: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "REPEAT_S", 2 * stopping.STOPS_WITHIN_S)
    dispatched.stubborn = True
    await dispatched.admit(*three)
    asked = []
    stop_running = three[0].stop_running
    assert stop_running is not None
    three[0].stop_running = lambda: asked.append(stop_running())
    dispatched.dispatcher.cancel(three[0].job_id, Cancellation("not needed"))
    await until_async(lambda: len(asked) > 2)
    assert three[0].outcome == outcome.cancelled("not needed")
    assert dispatched.started == three, "its slot is free"
    assert dispatched.dispatcher.stopping.stuck_by_type() == {"coroutine": 1}
    await dispatched.end(three[0])
    assert not dispatched.dispatcher.stopping.stuck_by_type()
    assert three[0].outcome == outcome.cancelled("not needed"), "a return is too late"
    assert [each for each in dispatched.facts if isinstance(each, Finished)] == [Finished(three[0])]


async def test_what_goes_on_for_another_worker_keeps_its_slot_until_it_has_ended(dispatched: Dispatched) -> None:
    dispatched.stubborn = True
    one = execution("coroutine")
    await dispatched.admit(one)
    one.retained = True
    one.cancel("given back")
    await asyncio.sleep(2 * stopping.STOPS_WITHIN_S)
    assert one.outcome is None and one in dispatched.slots["loop"].running
    await dispatched.end(one)
    assert one.outcome == SUCCEEDED


async def test_an_attempt_that_is_put_back_runs_again_and_is_reported_once(dispatched: Dispatched) -> None:
    dispatched.ended = [PutBack("cancelled by another job")]
    one = execution("coroutine", ordering_key="k")
    await dispatched.admit(one)
    await dispatched.end(one)
    assert dispatched.started == [one, one]
    await dispatched.end(one)
    assert dispatched.facts == [Started(one), Finished(one)]
    assert one.outcome is SUCCEEDED


async def test_nothing_of_a_kind_starts_for_a_moment_after_the_host_refused_it(dispatched: Dispatched) -> None:
    dispatched.ended = [PutBack("no process", 0.05)]
    one, other = execution("function"), execution("coroutine")
    await dispatched.admit(one, other)
    await dispatched.end(one)
    await dispatched.admit(execution("function"))
    assert set(dispatched.started) == {one, other}, "the third one waits"
    await until_async(lambda: len(dispatched.started) == 4)
    assert dispatched.started.count(one) == 2


async def test_a_task_that_a_coroutine_waited_in_runs_no_other_one(dispatched: Dispatched) -> None:
    first, second = execution("coroutine"), execution("coroutine")
    await dispatched.admit(first)
    waited_in = first.stop_running
    await dispatched.end(first)
    await dispatched.admit(second)
    assert waited_in is not None and second.stop_running is not None
    waited_in()
    await settled()
    assert second.outcome is None and second in dispatched.slots["loop"].running


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_tasks_that_another_job_cancels_before_they_begin_cost_no_slot(dispatched: Dispatched, kind: str) -> None:
    several = [execution(kind) for _ in range(2)]
    before = asyncio.all_tasks()
    dispatched.dispatcher.admit(several)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await settled()
    assert set(dispatched.started) == set(several)
    assert all(each.outcome is None for each in several)


async def test_the_end_of_a_session_cancels_what_runs_and_drops_what_waits(
    dispatched: Dispatched, three: list[Execution]
) -> None:
    await dispatched.admit(*three)
    for each in three:
        each.assignment.release()
    dispatched.dispatcher.cancel_all()
    await settled()
    assert dispatched.started == three[:2]
    assert [each.outcome.kind if each.outcome else None for each in three] == [EventKind.CANCELLED] * 2 + [None]
    assert not dispatched.slots["loop"].running and not len(dispatched.slots["loop"].queue)


async def test_a_job_of_an_unknown_type_holds_its_ordering_key_and_is_tried_after_the_grace(
    dispatched: Dispatched,
) -> None:
    unknown, behind = execution("new", ordering_key="k"), execution("coroutine", ordering_key="k")
    other = execution("coroutine")
    await dispatched.admit(unknown, behind, other)
    assert dispatched.started == [other]
    assert (len(dispatched.queues), dispatched.queues.by_tenant()) == (2, {"acme": 2})
    await until_async(lambda: dispatched.started == [other, unknown])
    await dispatched.end(unknown)
    assert dispatched.started[2:] == [behind]
    assert len(dispatched.queues) == 0


async def test_a_second_job_of_an_unknown_type_and_key_is_tried_after_the_first(dispatched: Dispatched) -> None:
    first, second = (execution("new", ordering_key="k") for _ in range(2))
    await dispatched.admit(first, second)
    await until_async(lambda: dispatched.started == [first])
    await dispatched.end(first)
    await until_async(lambda: dispatched.started == [first, second])
    await dispatched.end(second)
    assert len(dispatched.queues) == 0


async def test_a_job_of_an_unknown_type_ends_at_once_when_it_is_cancelled(dispatched: Dispatched) -> None:
    unknown, other = execution("new"), execution("new")
    dispatched.queues.unknown._grace_s = 60
    await dispatched.admit(unknown, other)
    dispatched.dispatcher.cancel(unknown.job_id, Cancellation("wrong"))
    await settled()
    assert dispatched.started == [unknown]


async def test_a_job_of_an_unknown_type_is_left_to_the_next_owner_of_its_partition(dispatched: Dispatched) -> None:
    unknown, behind = execution("new", ordering_key="k"), execution("coroutine", ordering_key="k")
    await dispatched.admit(unknown, behind)
    unknown.assignment.release()
    dispatched.dispatcher.cancel_lost()
    await settled()
    assert dispatched.started == [behind]
