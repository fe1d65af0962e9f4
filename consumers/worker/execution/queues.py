"""What waits to start: in a queue, behind an earlier job of its ordering key, for the previous owner of its partition,
or for a worker that knows its type."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping

from millstream.consumers.worker.execution.cancellations import Cancellation
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.registry import JobTypes, RunsOn
from millstream.consumers.worker.execution.slots import Slots
from millstream.consumers.worker.execution.unknown_types import UnknownTypes
from millstream.consumers.worker.scheduling.ordering_keys import OrderingKeys


class Queues:
    """Decides where each execution waits. Used by the event loop's thread only, but for the counts.

    `unknown_type_grace_s`: how long, in seconds, jobs wait whose type has no handler here.
    """

    def __init__(
        self,
        jobs: JobTypes,
        slots: Mapping[RunsOn, Slots],
        keys: OrderingKeys[Execution],
        crash_journal: CrashJournal,
        unknown_type_grace_s: float = 0.0,
    ) -> None:
        self._jobs = jobs
        self._slots = slots
        self._keys = keys
        self._crash_journal = crash_journal
        self._awaited: set[Execution] = set()
        self._suspended: list[Execution] = []
        self.unknown = UnknownTypes(unknown_type_grace_s, (each.name for each in jobs))
        self._holds_unknown = unknown_type_grace_s > 0

    def admit(self, executions: Iterable[Execution]) -> None:
        """Take executions that are new here."""
        for execution in executions:
            if not execution.ordering_key or self._keys.claim(execution):
                self.put(execution)

    def put(self, execution: Execution) -> None:
        """Queue an execution that holds its ordering key, unless the previous owner of its partition runs it."""
        if execution.awaited:
            self._awaited.add(execution)
        elif (slots := self._slots_for_known(execution)) is not None:
            slots.queue.put(execution)
        elif self._holds_unknown:
            self.unknown.hold(execution, time.monotonic())
        else:
            self._slots["loop"].queue.put(execution)

    def suspend(self, execution: Execution) -> None:
        """Let an execution wait until it is known whether its partition is still held."""
        self._suspended.append(execution)

    def put_suspended(self) -> None:
        """Queue again what was suspended."""
        suspended, self._suspended = self._suspended, []
        for execution in suspended:
            self.put(execution)

    def put_unknown(self, now: float) -> None:
        """Queue what has waited long enough for a worker that knows its type. `now`: seconds, monotonic."""
        for execution in self.unknown.due(now):
            self.slots_for(execution).queue.put(execution)

    def cancel_unknown(self, job_id: str, cancellation: Cancellation) -> None:
        """Queue executions of a job that wait for a worker that knows its type: they end without a handler."""

        def cancelled(waiting: Execution) -> bool:
            return waiting.job_id == job_id and cancellation.applies(waiting.read.submitted_us)

        for execution in self.unknown.remove(cancelled):
            self.slots_for(execution).queue.put(execution)

    def __len__(self) -> int:
        """How many executions wait. May be called by any thread; the number is a moment old."""
        return sum(len(slots.queue) for slots in self._slots.values()) + len(self._keys) + len(self.unknown)

    def by_tenant(self) -> Counter[str]:
        """How many executions of each tenant wait. May be called by any thread; the numbers are a moment old."""
        waiting = self._keys.by_tenant() + self.unknown.by_tenant()
        for slots in self._slots.values():
            waiting.update(slots.queue.by_tenant())
        return waiting

    def slots_for(self, execution: Execution) -> Slots:
        """The slots that it runs in, or ends in without a handler."""
        return self._slots_for_known(execution) or self._slots["loop"]

    def release_awaited(self, execution: Execution, starts: bool) -> Execution | None:
        """The previous owner of its partition does not run an execution any more: it starts here, or has its outcome
        and frees its ordering key. Returns the execution that was queued."""
        execution.awaited = False
        execution.finished_elsewhere = not starts
        if execution not in self._awaited:
            # It waits behind an earlier job of its ordering key.
            return None
        self._awaited.remove(execution)
        if not starts:
            return self.release_key(execution)
        self.put(execution)
        return execution

    def release_key(self, execution: Execution) -> Execution | None:
        """Free the ordering key of an execution that is over. Returns the next one of the key, which was queued."""
        following = self._keys.release(execution) if execution.ordering_key else None
        if following is not None:
            self.put(following)
        return following

    def drop_dead(self) -> list[Execution]:
        """Drop what waits for partitions that are no longer held. Returns what was queued in its place."""
        self._keys.forget_dead()
        dead = [execution for slots in self._slots.values() for execution in slots.queue.forget_dead()]
        dead += [each for each in self._awaited if not each.live]
        self._awaited.difference_update(dead)
        dead += [each for each in self._suspended if not each.live]
        self._suspended = [each for each in self._suspended if each.live]
        dead += self.unknown.remove(lambda each: not each.live)
        return [following for each in dead if (following := self.release_key(each))]

    def _slots_for_known(self, execution: Execution) -> Slots | None:
        job_type = self._jobs.get(execution.job_type)
        if job_type is None:
            return None
        suspects = self._crash_journal.poison_suspects
        if suspects and execution.job_id in suspects and job_type.importable:
            return self._slots["process"]
        return self._slots[job_type.runs_on]
