"""Which execution starts next and in which slot. Handlers are scripted: they run until the test lets them end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millstream.consumers.worker import JobTypes
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.dispatcher import Dispatcher
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.execution.registry import RunsOn
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.scheduling.fair_queue import FairQueue
from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys
from millstream.consumers.worker.scheduling.quotas import Quotas
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
        self.dispatcher = Dispatcher(
            asyncio.get_running_loop(),
            jobs,
            self.slots,
            self.quotas,
            OrderingKeys[Execution](),
            self.journal,
            self._attempt,
            self.facts.append,
        )

    async def admit(self, *executions: Execution) -> None:
        self.dispatcher.admit(list(executions))
        await settled()

    async def end(self, execution: Execution) -> None:
        self.ends[execution].set()
        await settled()

    async def _attempt(self, execution: Execution, runs_on: RunsOn) -> None:
        self.started.append(execution)
        self.ends[execution] = asyncio.Event()
        if len(self.started) == 2:
            self.two_started.set()
        self.dispatcher.on_first_wait()
        await self.ends[execution].wait()


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


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
