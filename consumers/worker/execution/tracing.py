"""The OpenTelemetry span of an attempt, a child of the span that submitted the job."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from millstream.schemas import ReadRequest

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    _tracer = None
else:
    _tracer = trace.get_tracer("millstream")
    _propagator = TraceContextTextMapPropagator()

_NO_SPAN: AbstractContextManager[Any] = nullcontext()


def attempt_span(read: ReadRequest) -> AbstractContextManager[Any]:
    """A span to run the handler in; nothing when the job carries no trace or OpenTelemetry is not installed."""
    if _tracer is None or not read.template.traceparent:
        return _NO_SPAN
    request = read.request
    return _tracer.start_as_current_span(
        f"process {request.job_type}",
        context=_propagator.extract({"traceparent": request.traceparent}),
        kind=trace.SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.message.id": request.job_id,
            "millstream.tenant": request.tenant,
            "millstream.attempt": request.attempt,
        },
    )
