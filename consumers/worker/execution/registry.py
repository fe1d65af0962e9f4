"""Which handler runs which job type.

@job("reports.render", timeout_s=60)
async def render(report: Report, context: JobContext) -> None: ...
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import TypeAdapter

from millstream.consumers.worker.execution.job_context import JobContext
from millstream.schemas.record import NAME_PATTERN

Handler = TypeVar("Handler", bound=Callable[..., Any])
RunsOn = Literal["loop", "thread", "process"]


@dataclass(frozen=True)
class JobType:
    """A job type and how to run it. `runs_on` says where: the event loop, a thread, or a child process."""

    name: str
    handler: Callable[..., Any]
    runs_on: RunsOn
    takes_payload: bool
    takes_context: bool
    payload: TypeAdapter[Any] | None
    timeout_s: float | None = None
    heartbeat_s: float | None = None
    memory_limit_bytes: int | None = None

    @property
    def importable(self) -> bool:
        """Whether another process can import the handler by its module and name."""
        qualname = getattr(self.handler, "__qualname__", "<locals>")
        return "<locals>" not in qualname and self.handler.__module__ != "__main__"

    def arguments(self, payload: bytes, context: JobContext | None) -> tuple[Any, ...]:
        """The arguments of the handler. Raises pydantic's ValidationError when it does not accept the payload."""
        given: list[Any] = []
        if self.takes_payload:
            given.append(payload if self.payload is None else self.payload.validate_json(payload))
        if self.takes_context:
            given.append(context)
        return tuple(given)


class JobTypes:
    """The handlers of a worker, by job type."""

    def __init__(self) -> None:
        self._types: dict[str, JobType] = {}

    def job(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        heartbeat_s: float | None = None,
        runs_on: RunsOn | None = None,
        memory_limit_mb: int | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register a handler for a job type.

        The handler takes the payload, typed by its annotation (a pydantic model or anything pydantic validates; `bytes`
        for the bytes as they are), and, if it has a parameter annotated `JobContext`, the context. An `async def` runs
        on the event loop and a plain function in a thread, unless `runs_on="process"`: then either runs in a process
        of its own, which a crash, its time limit or `memory_limit_mb` (MiB of resident memory) ends without touching
        anything else. `timeout_s`: longest run of one attempt, in seconds; a request may ask for a shorter one.
        `heartbeat_s`: longest silence, in seconds, of a handler that calls `context.heartbeat()` or `progress()`.

        Raises ValueError for a name that no job can have or that is taken, and for a handler that cannot be called so.
        """

        def register(handler: Handler) -> Handler:
            if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name) or name.endswith("\n"):
                raise ValueError(
                    f"job type {name!r}: a letter or digit, then up to 127 letters, digits, '.', '-', '_'; "
                    "no job could have this type"
                )
            if name in self._types:
                raise ValueError(f"job type {name!r} already has the handler {_name(self._types[name].handler)}")
            described = describe(name, handler)
            where = runs_on or described.runs_on
            _check(handler, where, memory_limit_mb)
            self._types[name] = replace(
                described,
                runs_on=where,
                timeout_s=timeout_s,
                heartbeat_s=heartbeat_s,
                memory_limit_bytes=None if memory_limit_mb is None else memory_limit_mb * 1024 * 1024,
            )
            return handler

        return register

    def get(self, name: str) -> JobType | None:
        return self._types.get(name)

    def __iter__(self) -> Iterator[JobType]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)


registered = JobTypes()
"""The job types of this process. `@job` adds to it; a worker runs it by default."""

job = registered.job


def describe(name: str, handler: Callable[..., Any]) -> JobType:
    """How a handler is called, from its signature. Raises ValueError when it cannot be called so."""
    function = _function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ValueError(f"{_name(handler)} has a `yield`, so that a call runs nothing of it; a handler returns")
    hints = get_type_hints(function)
    payloads = []
    context_last = False
    for parameter in inspect.signature(handler).parameters.values():
        if hints.get(parameter.name) is JobContext:
            context_last = True
        elif parameter.default is inspect.Parameter.empty:
            payloads.append(parameter)
            if context_last:
                raise ValueError(f"{_name(handler)}: the JobContext comes after the payload")
    if len(payloads) > 1:
        names = ", ".join(parameter.name for parameter in payloads)
        raise ValueError(f"{_name(handler)} takes {names}; a handler takes one payload and, optionally, a JobContext")
    kind = hints.get(payloads[0].name, Any) if payloads else Any
    return JobType(
        name=name,
        handler=handler,
        runs_on="loop" if inspect.iscoroutinefunction(function) else "thread",
        takes_payload=bool(payloads),
        takes_context=context_last,
        payload=None if kind is bytes else TypeAdapter(kind),
    )


def _check(handler: Callable[..., Any], runs_on: RunsOn, memory_limit_mb: int | None) -> None:
    is_async = inspect.iscoroutinefunction(_function(handler))
    name = _name(handler)
    if (runs_on == "loop" and not is_async) or (runs_on == "thread" and is_async):
        raise ValueError(f"{name} {'is' if is_async else 'is not'} async, so it cannot run on a {runs_on}")
    if runs_on == "process" and "<locals>" in getattr(handler, "__qualname__", "<locals>"):
        raise ValueError(f"{name} runs in a process, which imports it by name: define it at the top level of a module")
    if memory_limit_mb is not None and runs_on != "process":
        raise ValueError(f"{name}: memory_limit_mb needs runs_on='process'; elsewhere memory is shared by all jobs")


def _function(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a call of the handler runs: it may be a partial, or an object with `__call__`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if inspect.isroutine(handler) or inspect.isclass(handler):
        return handler
    return type(handler).__call__


def _name(handler: Callable[..., Any]) -> str:
    """The name of a handler for people."""
    return getattr(handler, "__qualname__", "") or repr(handler)
