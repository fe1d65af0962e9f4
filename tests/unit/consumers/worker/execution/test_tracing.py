"""The span of an attempt: a handler's own spans and calls belong to the trace that submitted the job."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace

from millstream.consumers.worker.execution import tracing
from millstream.consumers.worker.execution.tracing import attempt_span
from millstream.schemas import JobRequest, ReadRequest

TRACE = 0x0AF7651916CD43DD8448EB211C80319C


def test_a_handler_runs_in_the_trace_that_submitted_its_job() -> None:
    request = JobRequest(tenant="a", job_type="b", traceparent=f"00-{TRACE:032x}-b7ad6b7169203331-01")
    with attempt_span(ReadRequest.of(request, b"")):
        assert trace.get_current_span().get_span_context().trace_id == TRACE
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_job_without_a_trace_runs_without_a_span() -> None:
    with attempt_span(ReadRequest.of(JobRequest(tenant="a", job_type="b"), b"")):
        assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize("traceparent", [f"00-{0:032x}-b7ad6b7169203331-01", f"ff-{TRACE:032x}-b7ad6b7169203331-01"])
def test_a_trace_that_the_standard_calls_invalid_is_ignored(traceparent: str) -> None:
    with attempt_span(ReadRequest.of(JobRequest(tenant="a", job_type="b", traceparent=traceparent), b"")):
        assert trace.get_current_span() is trace.INVALID_SPAN


def test_with_a_tracer_provider_an_attempt_is_a_span_below_the_submitters(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, int]] = []

    class Recording:
        @contextmanager
        def start_as_current_span(self, name: str, context: Any = None, **options: Any) -> Iterator[trace.Span]:
            parent = trace.get_current_span(context)
            started.append((name, parent.get_span_context().trace_id))
            yield parent

    monkeypatch.setattr(tracing, "ASK_INTERVAL_S", 0.0)
    monkeypatch.setattr(tracing, "_provider", tracing._Provider())
    monkeypatch.setattr(tracing, "_tracer", Recording())
    request = JobRequest(tenant="a", job_type="b", traceparent=f"00-{TRACE:032x}-b7ad6b7169203331-01")
    with attempt_span(ReadRequest.of(request, b"")):
        assert started == []
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    with attempt_span(ReadRequest.of(request, b"")):
        assert started == [("process b", TRACE)]
