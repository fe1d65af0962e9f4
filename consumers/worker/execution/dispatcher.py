"""Which execution starts next and in which slot: the part of the executor that runs on the event loop's thread
alone."""

import asyncio
import contextlib
import contextvars
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Protocol

from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.execution.registry import JobTypes, RunsOn
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys
from millstream.consumers.worker.scheduling.quotas import Quotas

TURN_S = 0.005
"""How long coroutines that never wait may follow each other before the event loop runs its other callbacks."""


class Attempt(Protocol):
    """Runs an execution that has its slot, and notes its outcome. Raises nothing."""

    async def __call__(self, execution: Execution, runs_on: RunsOn) -> None: ...


class Dispatcher:
    """Takes executions from the queues into free slots, as quotas and ordering keys allow, and runs `attempt` there.

    Every method is called on the thread of `loop`. `emit` takes the facts.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        jobs: JobTypes,
        slots: Mapping[RunsOn, Slots],
        quotas: Quotas,
        keys: OrderingKeys[Execution],
        crash_journal: CrashJournal,
        attempt: Attempt,
        emit: Callable[[Fact], None],
    ) -> None:
        self._loop = loop
        self._jobs = jobs
        self._slots = slots
        self._quotas = quotas
        self._keys = keys
        self._crash_journal = crash_journal
        self._attempt = attempt
        self._emit = emit
        self._wake_at = math.inf
        self.accepting = True
        """Whether executions start; may be set by any thread."""

    def admit(self, executions: list[Execution]) -> None:
        """Queue executions, and start what may start."""
        for execution in executions:
            if not execution.ordering_key or self._keys.claim(execution):
                self._slots_for(execution).queue.put(execution)
        self._fill_all()

    def change_quotas(self, change: Callable[[Quotas], None]) -> None:
        """Change the quotas, and start what may start now."""
        change(self._quotas)
        for slots in self._slots.values():
            slots.queue.wake_all()
            self.fill(slots)

    def on_first_wait(self) -> None:
        """A coroutine waits for the first time: let another task start the next executions."""
        slots = self._slots["loop"]
        if slots.dispatcher is asyncio.current_task(self._loop):
            slots.dispatcher = None
            self.fill(slots)

    def cancel(self, job_id: str, reason: str) -> None:
        """Cancel the executions of a job that have a slot."""
        for execution in self._running():
            if execution.job_id == job_id:
                execution.cancel(reason)

    def cancel_lost(self) -> None:
        """Cancel what runs for partitions that are no longer held, and drop what waits for them."""
        self._keys.forget_dead()
        for slots in self._slots.values():
            for execution in slots.queue.forget_dead():
                self._release_key(execution)
        for execution in self._running():
            if not execution.assignment.held:
                execution.cancel("its partition was reassigned to another worker")

    def fill(self, slots: Slots) -> None:
        """Start executions while there are free slots and the queue has something that may start."""
        if slots.kind == "loop":
            if slots.dispatcher is None and len(slots.queue) and slots.free:
                slots.dispatcher = self._create_task(self._dispatch(slots))
        else:
            while (execution := self._next(slots)) is not None:
                self._create_task(self._execute(execution, slots))

    def _slots_for(self, execution: Execution) -> Slots:
        job_type = self._jobs.get(execution.job_type)
        if job_type is None:
            return self._slots["loop"]
        suspects = self._crash_journal.poison_suspects
        if suspects and execution.job_id in suspects and job_type.importable:
            return self._slots["process"]
        return self._slots[job_type.runs_on]

    def _create_task(self, run: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task in an empty context: the current one may be another job's, with its trace."""
        return self._loop.create_task(run, context=contextvars.Context())

    def _next(self, slots: Slots) -> Execution | None:
        """The execution that starts now, already in its slot; None while nothing may start."""
        queue = slots.queue
        while self.accepting and slots.free and len(queue):
            execution = queue.pop(time.monotonic())
            if execution is None:
                self._wake_later(queue.ready_at())
                break
            if not execution.live:
                self._release_key(execution)
                continue
            self._quotas.enter(execution.tenant, execution.job_type, execution.lane)
            self._crash_journal.begin(execution.read.key, execution.execution_id)
            slots.occupy(execution)
            return execution
        return None

    async def _dispatch(self, slots: Slots) -> None:
        """Run coroutines one after the other in this task, each in a context of its own, until one of them waits; then
        another task goes on with the next ones. A task for each job would cost as much as everything else about it."""
        this = asyncio.current_task()
        assert this is not None
        turn_ends = time.monotonic() + TURN_S
        try:
            while slots.dispatcher is this and (execution := self._next(slots)) is not None:
                execution.stop_running = this.cancel
                await self._execute(execution, slots)
                while this.cancelling():
                    # The cancellation was of an execution that is over; the next one must not receive it.
                    this.uncancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(0)
                if slots.dispatcher is None:
                    slots.dispatcher = this
                if time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + TURN_S
        finally:
            if slots.dispatcher is this:
                slots.dispatcher = None

    async def _execute(self, execution: Execution, slots: Slots) -> None:
        try:
            execution.begin()
            self._emit(Started(execution))
            await self._attempt(execution, slots.kind)
            self._emit(Finished(execution))
        finally:
            self._leave(execution, slots)

    def _leave(self, execution: Execution, slots: Slots) -> None:
        slots.running.discard(execution)
        self._crash_journal.end(execution.execution_id)
        self._quotas.leave(execution.tenant, execution.job_type, execution.lane)
        self._release_key(execution)
        for each in self._slots.values():
            if len(each.queue):
                each.queue.wake(execution.tenant, execution.job_type)
                if each is not slots or each.kind != "loop":
                    self.fill(each)

    def _release_key(self, execution: Execution) -> None:
        if execution.ordering_key and (following := self._keys.release(execution)):
            slots = self._slots_for(following)
            slots.queue.put(following)
            self._loop.call_soon(self.fill, slots)

    def _wake_later(self, moment: float) -> None:
        if moment < self._wake_at:
            self._wake_at = moment
            self._loop.call_later(max(0.0, moment - time.monotonic()), self._wake_now)

    def _wake_now(self) -> None:
        self._wake_at = math.inf
        self._fill_all()

    def _fill_all(self) -> None:
        for slots in self._slots.values():
            self.fill(slots)

    def _running(self) -> Iterator[Execution]:
        for slots in self._slots.values():
            yield from slots.running.copy()
