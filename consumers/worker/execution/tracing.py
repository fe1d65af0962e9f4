"""The OpenTelemetry span of an attempt, a child of the span that submitted the job."""

import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from millstream.schemas import ReadRequest

try:
    from opentelemetry import context, trace
except ImportError:
    _tracer = None
else:
    _tracer = trace.get_tracer("millstream")

_NO_SPAN: AbstractContextManager[Any] = nullcontext()

ASK_INTERVAL_S = 1.0
"""The shortest time between two looks for a tracer provider: each reads the environment."""


def attempt_span(read: ReadRequest) -> AbstractContextManager[Any]:
    """A span to run the handler in; nothing when the job carries no trace or OpenTelemetry is not installed.

    Without a tracer provider no span is made, which would cost more than all else about a short job. The handler runs
    in the submitter's trace all the same, so that it passes the trace on.
    """
    if _tracer is None or not read.traceparent:
        return _NO_SPAN
    version, trace_id, span_id, flags = read.traceparent.split("-")
    submitter = trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_trace_flags(flags))
    if not submitter.is_valid or version == "ff":
        return _NO_SPAN
    parent = trace.set_span_in_context(trace.NonRecordingSpan(submitter))
    if not _provider.is_set():
        return _Attached(parent)
    request = read.request
    return _tracer.start_as_current_span(
        f"process {request.job_type}",
        context=parent,
        kind=trace.SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.message.id": request.job_id,
            "millstream.tenant": request.tenant,
            "millstream.attempt": request.attempt,
        },
    )


@lru_cache(maxsize=256)
def _trace_flags(hexadecimal: str) -> "trace.TraceFlags":
    return trace.TraceFlags(int(hexadecimal, 16))


class _Provider:
    """Whether the program has set a tracer provider, which it does once."""

    def __init__(self) -> None:
        self._is_set = False
        self._ask_at = float("-inf")

    def is_set(self) -> bool:
        """What was so at the last look."""
        if not self._is_set and (now := time.monotonic()) >= self._ask_at:
            self._ask_at = now + ASK_INTERVAL_S
            self._is_set = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        return self._is_set


_provider = _Provider()


class _Attached:
    """Makes a context the current one."""

    __slots__ = ("_context", "_token")

    def __init__(self, parent: Any) -> None:
        self._context = parent

    def __enter__(self) -> None:
        self._token = context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)
