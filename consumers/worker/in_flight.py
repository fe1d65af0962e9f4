"""The jobs between being taken from a partition and having their outcome written or their partition released."""

from collections.abc import Collection, Iterable

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.scheduling.admission import Admission


class InFlightJobs:
    """The executions in flight, counted against `admission`. Not thread-safe: the poll thread owns it."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self._executions: set[Execution] = set()

    def add(self, executions: Iterable[Execution]) -> None:
        """Note executions that were admitted and are now the executor's."""
        self._executions.update(executions)

    def finish(self, execution: Execution) -> None:
        """Note that an execution has its outcome."""
        self._executions.discard(execution)
        overflow, ran_s = execution.assignment.overflow, execution.run_ms / 1000
        self.admission.finish(execution.tenant, len(execution.value), overflow, ran_s)

    def drop_released(self) -> None:
        """Drop what belongs to partitions that are no longer held."""
        for execution in [each for each in self._executions if not each.assignment.held]:
            self._executions.discard(execution)
            self.admission.finish(execution.tenant, len(execution.value), execution.assignment.overflow)

    def started(self, assignments: Collection[Assignment]) -> list[Execution]:
        """The executions of these partitions that have started, do not wait again, and have no outcome yet."""
        return [
            each
            for each in self._executions
            if each.started_us and not each.waits_again and each.assignment in assignments
        ]
