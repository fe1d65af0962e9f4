"""Which execution starts next and in which slot: the part of the executor that runs on the event loop's thread
alone."""

import asyncio
import contextvars
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Protocol

import structlog

from millstream.consumers.worker.execution import outcome
from millstream.consumers.worker.execution.attempt import PutBack
from millstream.consumers.worker.execution.cancellations import Cancellation
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.facts import Fact, Finished, Started
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.consumers.worker.execution.queues import Queues
from millstream.consumers.worker.execution.registry import RunsOn
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.execution.stopping import Stopping
from millstream.consumers.worker.scheduling.quotas import Quotas
from millstream.schemas import EventKind

log = structlog.get_logger(__name__)

TURN_S = 0.005
"""How long coroutines that never wait may follow each other before the event loop runs its other callbacks."""


class ConcludedAttempts(Protocol):
    """Runs executions that have a slot. Neither method raises."""

    async def run(self, execution: Execution, runs_on: RunsOn) -> Outcome | PutBack:
        """Run the handler to its end."""

    def conclude(self, execution: Execution, ended: Outcome) -> None:
        """Note the outcome of an execution."""


class Dispatcher:
    """Takes executions from the queues into free slots, as quotas and ordering keys allow, and runs `attempts` there.

    Every method is called on the thread of `loop`. `emit` takes the facts.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        queues: Queues,
        slots: Mapping[RunsOn, Slots],
        quotas: Quotas,
        crash_journal: CrashJournal,
        attempts: ConcludedAttempts,
        emit: Callable[[Fact], None],
    ) -> None:
        self._loop = loop
        self._queues = queues
        self._slots = slots
        self._quotas = quotas
        self._crash_journal = crash_journal
        self._attempts = attempts
        self._emit = emit
        self._wake_at = math.inf
        self.stopping = Stopping(loop, self._leave_behind)
        self.accepting = True
        """Whether executions start; may be set by any thread."""

    def admit(self, executions: list[Execution]) -> None:
        """Queue executions, and start what may start."""
        self._queues.admit(executions)
        self._fill_all()

    def release_awaited(self, execution: Execution, starts: bool) -> None:
        """The previous owner of its partition does not run an execution any more: it starts here, or has its outcome
        and frees its ordering key."""
        if (queued := self._queues.release_awaited(execution, starts)) is not None:
            self._fill_soon(queued)

    def resume_suspended(self) -> None:
        """Start what did not start because its partition was suspended, and drop what is not live any more."""
        self._queues.put_suspended()
        self._fill_all()

    def change_quotas(self, change: Callable[[Quotas], None]) -> None:
        """Change the quotas, and start what may start now."""
        change(self._quotas)
        for slots in self._slots.values():
            slots.queue.wake_all()
            self.fill(slots)

    def on_first_wait(self) -> None:
        """A coroutine waits for the first time: the task is its own from here on, and another one starts the next
        executions."""
        slots = self._slots["loop"]
        if slots.dispatcher is asyncio.current_task(self._loop):
            slots.dispatcher = None
            self.fill(slots)

    def cancel(self, job_id: str, cancellation: Cancellation) -> None:
        """Cancel the executions of a job that have a slot, or no handler."""
        if self._queues.unknown:
            self._queues.cancel_unknown(job_id, cancellation)
            self._fill_all()
        for execution in self._running():
            if execution.job_id == job_id and cancellation.applies(execution.read.submitted_us):
                execution.cancel(cancellation.reason)

    def cancel_lost(self) -> None:
        """Cancel what runs for partitions that are no longer held, and drop what waits for them."""
        self._drop_dead()
        for execution in self._running():
            if not execution.assignment.held and not execution.retained:
                execution.cancel("its partition was reassigned to another worker")

    def cancel_all(self) -> None:
        """Cancel everything that runs, and drop what waits for partitions that are no longer held."""
        self._drop_dead()
        for execution in self._running():
            execution.retained = False
            execution.cancel("its worker has stopped or started over")

    def _drop_dead(self) -> None:
        for following in self._queues.drop_dead():
            self._fill_soon(following)

    def fill(self, slots: Slots) -> None:
        """Start executions while there are free slots and the queue has something that may start."""
        if slots.kind == "loop":
            if slots.dispatcher is None and len(slots.queue) and slots.free:
                slots.dispatcher = self._create_task(self._dispatch(slots))
                slots.dispatcher.add_done_callback(self._dispatcher_ended)
        else:
            while (execution := self._next(slots)) is not None:
                task = self._create_task(self._execute(execution, slots))
                execution.stop_running = task.cancel
                task.add_done_callback(partial(self._task_ended, execution, slots))

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
            if not execution.assignment.writable:
                self._queues.suspend(execution)
                continue
            self._quotas.enter(execution.tenant, execution.job_type, execution.lane)
            self._crash_journal.begin(execution.read.key, execution.execution_id, slots.kind == "process")
            execution.on_cancel = self._on_cancel
            slots.occupy(execution)
            return execution
        return None

    async def _dispatch(self, slots: Slots) -> None:
        """Run coroutines one after the other in this task, each in a context of its own, until one of them waits. A
        task for each job would cost as much as everything else about it; but a task that a coroutine has waited in, or
        has cancelled, is not used for another one, which could receive what the first one left in it."""
        this = asyncio.current_task()
        assert this is not None
        turn_ends = time.monotonic() + TURN_S
        while slots.dispatcher is this and not this.cancelling() and (execution := self._next(slots)) is not None:
            execution.stop_running = this.cancel
            await self._execute(execution, slots)
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + TURN_S

    def _dispatcher_ended(self, task: asyncio.Task[None]) -> None:
        slots = self._slots["loop"]
        if slots.dispatcher is task:
            slots.dispatcher = None
            self.fill(slots)

    def _task_ended(self, execution: Execution, slots: Slots, task: asyncio.Task[None]) -> None:
        if not task.cancelled() or execution not in slots.running:
            return
        # It had not begun.
        if execution.ends_as is None:
            self._put_back(execution, slots, PutBack("its task was cancelled, and not by the worker"))
        else:
            self._begin(execution)
            self._finish(execution, slots, execution.ends_as)
            self._release_key(execution)

    async def _execute(self, execution: Execution, slots: Slots) -> None:
        self._begin(execution)
        ended = await self._attempts.run(execution, slots.kind)
        if execution.outcome is not None:
            # It kept its ordering key: jobs of one key never overlap.
            self.stopping.ended(execution)
            self._release_key(execution)
        elif isinstance(ended, Outcome):
            self._finish(execution, slots, ended)
            self._release_key(execution)
        else:
            self._put_back(execution, slots, ended)

    def _begin(self, execution: Execution) -> None:
        if execution.waits_again:
            execution.begin_again()
        else:
            execution.begin()
            self._emit(Started(execution))

    def _finish(self, execution: Execution, slots: Slots, ended: Outcome) -> None:
        self._attempts.conclude(execution, ended)
        self._emit(Finished(execution))
        self._leave(execution, slots)

    def _put_back(self, execution: Execution, slots: Slots, because: PutBack) -> None:
        """Queue an execution again, which keeps its ordering key."""
        execution.wait_again()
        self._queues.put(execution)
        if because.pause_s:
            slots.pause(self._loop, because.pause_s, because.reason, self.fill)
        else:
            log.warning("job_put_back", job_id=execution.job_id, job_type=execution.job_type, reason=because.reason)
            self._loop.call_soon(self.fill, slots)
        self._leave(execution, slots)

    def _on_cancel(self, execution: Execution) -> None:
        """Called by any thread."""
        self._loop.call_soon_threadsafe(self.stopping.stop, execution, outcome.cancelled(execution.cancelled))

    def _leave_behind(self, execution: Execution) -> bool:
        slots = next((each for each in self._slots.values() if execution in each.running), None)
        ended = execution.ends_as
        assert ended is not None
        # The process of a handler is killed, which takes a moment. What goes on for another worker must not run there
        # before it has ended here.
        if slots is None or slots.kind == "process" or (execution.retained and ended.kind is EventKind.CANCELLED):
            return False
        if execution.on_left_behind is not None:
            execution.on_left_behind()
        self._finish(execution, slots, ended)
        return True

    def _leave(self, execution: Execution, slots: Slots) -> None:
        slots.running.discard(execution)
        self._crash_journal.end(execution.execution_id)
        self._quotas.leave(execution.tenant, execution.job_type, execution.lane)
        for each in self._slots.values():
            if len(each.queue):
                each.queue.wake(execution.tenant, execution.job_type)
                if each.dispatcher is None:
                    self.fill(each)

    def _release_key(self, execution: Execution) -> None:
        if execution.ordering_key and (following := self._queues.release_key(execution)) is not None:
            self._fill_soon(following)

    def _fill_soon(self, queued: Execution) -> None:
        if self._queues.unknown:
            self._wake_later(self._queues.unknown.due_at)
        self._loop.call_soon(self.fill, self._queues.slots_for(queued))

    def _wake_later(self, moment: float) -> None:
        if moment < self._wake_at:
            self._wake_at = moment
            self._loop.call_later(max(0.0, moment - time.monotonic()), self._wake_now)

    def _wake_now(self) -> None:
        self._wake_at = math.inf
        if self._queues.unknown:
            self._queues.put_unknown(time.monotonic())
        self._fill_all()

    def _fill_all(self) -> None:
        if self._queues.unknown:
            self._wake_later(self._queues.unknown.due_at)
        for slots in self._slots.values():
            self.fill(slots)

    def _running(self) -> Iterator[Execution]:
        for slots in self._slots.values():
            yield from slots.running.copy()
