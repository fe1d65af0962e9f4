"""Which handler runs which job type.

@job("reports.render", timeout_s=60)
async def render(report: Report, context: JobContext) -> None: ...
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import TypeAdapter

from millstream.consumers.worker.context import JobContext

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class JobType:
    """A job type and how to run it. `runs_on` says where: the event loop for `async def`, a thread otherwise."""

    name: str
    handler: Callable[..., Any]
    runs_on: Literal["loop", "thread"]
    takes_payload: bool
    takes_context: bool
    payload: TypeAdapter[Any] | None
    timeout_s: float | None

    def arguments(self, payload: bytes, context: JobContext) -> tuple[Any, ...]:
        """What the handler is called with. Raises pydantic's ValidationError when the payload is not what it takes."""
        given: list[Any] = []
        if self.takes_payload:
            given.append(payload if self.payload is None else self.payload.validate_json(payload))
        if self.takes_context:
            given.append(context)
        return tuple(given)


class JobTypes:
    """The handlers a worker knows, by job type."""

    def __init__(self) -> None:
        self._types: dict[str, JobType] = {}

    def job(self, name: str, *, timeout_s: float | None = None) -> Callable[[Handler], Handler]:
        """Register a handler for a job type.

        The handler takes the payload, typed by its annotation (a pydantic model or anything pydantic validates; `bytes`
        for the bytes as they are), and, if it has a parameter annotated `JobContext`, the context. It may be `async
        def`, or a plain function that runs in a thread. `timeout_s`: longest run of one attempt, in seconds; a request
        may ask for a shorter one. Raises ValueError for a name that is taken or a handler that cannot be called so.
        """

        def register(handler: Handler) -> Handler:
            if name in self._types:
                raise ValueError(f"job type {name!r} already has the handler {self._types[name].handler.__qualname__}")
            self._types[name] = _describe(name, handler, timeout_s)
            return handler

        return register

    def get(self, name: str) -> JobType | None:
        return self._types.get(name)

    def __iter__(self) -> Iterator[JobType]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)


registered = JobTypes()
"""The job types of this process; `@job` adds to it and a worker runs it by default."""

job = registered.job


def _describe(name: str, handler: Callable[..., Any], timeout_s: float | None) -> JobType:
    hints = get_type_hints(handler)
    payloads = []
    context_last = False
    for parameter in inspect.signature(handler).parameters.values():
        if hints.get(parameter.name) is JobContext:
            context_last = True
        elif parameter.default is inspect.Parameter.empty:
            payloads.append(parameter)
            if context_last:
                raise ValueError(f"{handler.__qualname__}: the JobContext comes after the payload")
    if len(payloads) > 1:
        names = ", ".join(parameter.name for parameter in payloads)
        raise ValueError(
            f"{handler.__qualname__} takes {names}; a handler takes one payload, and a JobContext if it likes"
        )
    kind = hints.get(payloads[0].name, Any) if payloads else Any
    return JobType(
        name=name,
        handler=handler,
        runs_on="loop" if inspect.iscoroutinefunction(handler) else "thread",
        takes_payload=bool(payloads),
        takes_context=context_last,
        payload=None if kind is bytes else TypeAdapter(kind),
        timeout_s=timeout_s,
    )
