"""What a producer says is checked before anything is sent, and the error says what to change."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from millstream.producers import InvalidJob, NewJob


class Report(BaseModel):
    number: int


def test_a_pydantic_model_a_plain_value_and_bytes_are_payloads() -> None:
    assert NewJob("a", Report(number=7)).request().payload == b'{"number":7}'
    assert NewJob("a", {"x": [1, None]}).request().payload == b'{"x":[1,null]}'
    raw = NewJob("a", b"\x00\x01").request()
    assert (raw.payload, raw.content_type) == (b"\x00\x01", "application/octet-stream")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"payload": object()}, "cannot be written as JSON.*object"),
        ({"payload": b"x" * 1_048_577}, "1,048,577 bytes, the limit is 1,048,576"),
        ({"tenant": "Acme Corp!"}, "tenant='Acme Corp!'"),
        ({"tenant": ""}, "tenant=''"),
        ({"lane": "a/b"}, "lane='a/b'"),
        ({"job_type": "x" * 200}, "job_type="),
        ({"labels": {"n": 1}}, r"labels\.n=1"),
        ({"labels": {str(n): "" for n in range(33)}}, "labels="),
        ({"deadline": datetime(2030, 1, 1)}, "no time zone"),
        ({"labels": ["team"]}, r"labels=\['team'\]: a mapping"),
        ({"labels": {"team": "\ud800"}}, "labels have a text that UTF-8 cannot encode"),
        ({"labels": {"team": "x" * 16_381}}, "labels are 16,385 bytes, the limit is 16,384"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"timeout_s": 1e17}, "timeout_s=1e.17"),
        ({"timeout_s": "5"}, "timeout_s='5'"),
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"max_attempts": 2**31}, "max_attempts=2147483648: at most 2,147,483,647"),
        ({"job_id": "order-17"}, "job_id='order-17'"),
        ({"traceparent": "junk"}, "traceparent='junk'"),
    ],
)
def test_a_job_that_cannot_be_submitted_names_the_field_and_the_value(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        NewJob(**{"job_type": "a.b", **fields}).request()


def test_the_trace_of_the_current_span_is_carried() -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="needs opentelemetry-api (millstream[tracing])")
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1)))
    with trace.use_span(span):
        assert NewJob("a").request().traceparent == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert NewJob("a").request().traceparent == ""


def test_jobs_of_one_ordering_key_share_a_record_key() -> None:
    first, second = NewJob("a", ordering_key="order-1").request(), NewJob("a", ordering_key="order-1").request()
    assert first.record_key == second.record_key == b"order-1"
    assert NewJob("a").request().record_key != NewJob("a").request().record_key
