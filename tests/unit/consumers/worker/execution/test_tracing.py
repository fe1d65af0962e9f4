"""The span of an attempt: a handler's own spans and calls belong to the trace that submitted the job."""

from opentelemetry import trace

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
