"""The trace that a submission belongs to."""

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    _propagator = None
else:
    _propagator = TraceContextTextMapPropagator()


def current_traceparent() -> str:
    """The current OpenTelemetry span as a W3C `traceparent`; empty without a span or without OpenTelemetry."""
    if _propagator is None:
        return ""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")
