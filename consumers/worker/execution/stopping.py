"""Ends executions that run: asks their handlers to stop, and leaves behind those that do not."""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import Outcome

log = structlog.get_logger(__name__)

STOPS_WITHIN_S = 0.1
"""How long a handler that is asked to stop keeps its slot, so that an ordinary `finally` block ends first."""

REPEAT_S = 2.0
"""How often a handler that goes on is asked again: each time interrupts what it does in its `finally` blocks."""


class Stopping:
    """Used by the event loop's thread only, except for `stuck_by_type`.

    `leave_behind` gives an execution its outcome and frees its slot although its handler goes on. It returns False for
    one that has to keep its slot.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, leave_behind: Callable[[Execution], bool]) -> None:
        self._loop = loop
        self._leave_behind = leave_behind
        self._stuck: set[Execution] = set()
        self._warned: set[Execution] = set()

    def stop(self, execution: Execution, ends_as: Outcome) -> None:
        """Ask the handler of an execution to stop. From here on the attempt ends as `ends_as`, whatever the handler
        does, and at the latest after `STOPS_WITHIN_S`. Of two calls the first decides. An execution that has ended is
        left as it is."""
        if execution.outcome is not None or execution.ends_as is not None:
            return
        execution.ends_as = ends_as
        self._ask(execution)
        self._loop.call_later(STOPS_WITHIN_S, self._give_slot_away, execution)
        self._loop.call_later(REPEAT_S, self._ask_again, execution)

    def ended(self, execution: Execution) -> None:
        """Note that the handler of an execution that was left behind has ended."""
        self._stuck.discard(execution)
        if execution in self._warned:
            self._warned.remove(execution)
            log.info("stuck_handler_ended", job_id=execution.job_id, job_type=execution.job_type)

    def stuck_by_type(self) -> Counter[str]:
        """How many handlers of each job type go on although their attempts have ended. May be called by any thread."""
        return Counter(each.job_type for each in self._stuck.copy())

    def _give_slot_away(self, execution: Execution) -> None:
        if execution.outcome is None and self._leave_behind(execution):
            self._stuck.add(execution)

    def _ask_again(self, execution: Execution) -> None:
        if execution.outcome is not None and execution not in self._stuck:
            self._warned.discard(execution)
            return
        if execution not in self._warned:
            self._warned.add(execution)
            action = f"its slot is given to other jobs; it is asked to stop every {REPEAT_S:g} s"
            log.warning("handler_stuck", job_id=execution.job_id, job_type=execution.job_type, action=action)
        self._ask(execution)
        self._loop.call_later(REPEAT_S, self._ask_again, execution)

    @staticmethod
    def _ask(execution: Execution) -> None:
        execution.signal_cancelled()
        if execution.stop_running is not None:
            execution.stop_running()
