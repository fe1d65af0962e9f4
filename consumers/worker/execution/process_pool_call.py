"""A call in a `ProcessPoolExecutor` whose CPU time comes back to the worker with what it returns or raises.

The processes of a pool work for many attempts, so the processes themselves cannot be counted. They import this file:
it imports no more than it needs.
"""

import itertools
import resource
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from millstream.consumers.worker.execution.started_work import StartedWork, cpu_ns

_waiting: "WeakValueDictionary[int, StartedWork]" = WeakValueDictionary()
_numbers = itertools.count()


class MeteredCall:
    """A function to be called in the process of a pool for one attempt."""

    def __init__(self, work: StartedWork, function: Callable[..., Any]) -> None:
        self._number = next(_numbers)
        self._function = function
        _waiting[self._number] = work

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        begun = _cpu_ns()
        try:
            returned = self._function(*arguments, **named)
        except BaseException as error:
            # Pickled as `_Answer` is, and otherwise the error that it was.
            error.__reduce_ex__ = partial(_reduce, error, self._number, _cpu_ns() - begun)  # type: ignore[method-assign]
            raise
        return _Answer(returned, self._number, _cpu_ns() - begun)


class _Answer:
    """What a call returned. The worker receives that alone: the CPU time is counted while it is unpickled there."""

    def __init__(self, returned: Any, number: int, used_ns: int) -> None:
        self._pickled = _receive, (returned, number, used_ns)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._pickled


def _reduce(error: BaseException, number: int, used_ns: int, protocol: int) -> tuple[Any, ...]:
    del error.__reduce_ex__
    return _receive, (error, number, used_ns)


def _receive(returned: Any, number: int, used_ns: int) -> Any:
    if (work := _waiting.pop(number, None)) is not None:
        work.add_cpu_of_programs(used_ns)
    return returned


def _cpu_ns() -> int:
    return cpu_ns(map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
