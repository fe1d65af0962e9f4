"""What a producer says is checked before anything is sent, and the error says what to change."""

import asyncio
import json
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from millstream import job_client
from millstream.producers import InvalidJob, NewJob, NewJobFields
from millstream.testing import InMemoryAsyncClient, InMemoryClient


class Report(BaseModel):
    number: int


def test_a_pydantic_model_a_plain_value_and_bytes_are_payloads() -> None:
    assert NewJob("a", Report(number=7)).request().payload == b'{"number":7}'
    assert NewJob("a", {"x": [1, None]}).request().payload == b'{"x":[1,null]}'
    raw = NewJob("a", b"\x00\x01").request()
    assert (raw.payload, raw.content_type) == (b"\x00\x01", "application/octet-stream")


class Measured(BaseModel):
    rate: float


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


CONTAINS_ITSELF: list[Any] = []
CONTAINS_ITSELF.append(CONTAINS_ITSELF)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Decimal("1.10"), "1.10"),
        (datetime(2030, 1, 1, tzinfo=UTC), "2030-01-01T00:00:00Z"),
        (datetime(2030, 1, 1), "2030-01-01T00:00:00"),
        (date(2030, 1, 1), "2030-01-01"),
        (timedelta(days=1, hours=12), "P1DT12H"),
        (UUID("0fcb6baa-3881-4e21-8367-16a5fdca249d"), "0fcb6baa-3881-4e21-8367-16a5fdca249d"),
        (b"text", "text"),
        ({7}, [7]),
        ((1, 2), [1, 2]),
        (Point(3), {"x": 3}),
        (Colour.RED, "red"),
        (Measured(rate=0.5), {"rate": 0.5}),
        ({1: "a", date(2030, 1, 1): "b"}, {"1": "a", "2030-01-01": "b"}),
        ({"NaN": None, "text": "Infinity"}, {"NaN": None, "text": "Infinity"}),
        (10**30, 10**30),
    ],
)
def test_a_value_that_json_does_not_have_is_sent_by_the_rule_of_the_documentation(value: Any, sent: Any) -> None:
    payload, content_type = NewJob("a", {"value": value}).payload_bytes()
    assert json.loads(payload) == {"value": sent}
    assert content_type == "application/json"


def test_an_error_shows_a_part_of_what_was_given() -> None:
    with pytest.raises(InvalidJob) as caught:
        NewJob("a", tenant="t" * 100_000, lane="l" * 100_000, ordering_key="k" * 100_000).request()
    assert len(str(caught.value)) < 1_500


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
        ({"labels": {"team": "\ud800"}}, r"labels\.team=.*unicode"),
        ({"labels": {"\ud800": "x"}}, r"labels\.\\ud800.*unicode"),
        ({"labels": {b"team": "x"}}, r"labels\.b'team'"),
        ({"tenant": "\ud800"}, "tenant=.*unicode"),
        ({"tenant": b"acme"}, "tenant=b'acme'"),
        ({"tenant": 7}, "tenant=7"),
        ({"lane": ["high"]}, "lane=.*high"),
        ({"ordering_key": b"k"}, "ordering_key=b'k'"),
        ({"ordering_key": "k" * 257}, "ordering_key=.*at most 256"),
        ({"deadline": "2030-01-01T00:00:00Z"}, "deadline=.*valid datetime"),
        ({"deadline": 1e300}, "deadline=1e.300"),
        ({"timeout_s": True}, "timeout_s=True"),
        ({"max_attempts": "3"}, "max_attempts='3'"),
        ({"max_attempts": True}, "max_attempts=True"),
        ({"attempt": True}, "attempt=True"),
        ({"payload": {"rows": [1, {"rate": float("nan")}]}}, r"payload\.rows\.1\.rate is not a finite number"),
        ({"payload": {"rate": Decimal("-Infinity")}}, r"payload\.rate is not a finite number"),
        ({"payload": Measured(rate=float("inf"))}, r"payload\.rate is not a finite number"),
        ({"payload": {"of": [Measured(rate=float("nan"))]}}, r"payload\.of\.0\.rate is not a finite number"),
        ({"payload": {"name": ["\ud800"]}}, r"payload\.name\.0 cannot be written as JSON"),
        ({"payload": {"\ud800": 1}}, r"payload\..*its name.* cannot be written as JSON"),
        ({"payload": {"raw": b"\xff"}}, r"payload\.raw cannot be written as JSON"),
        ({"payload": {"a": [object()]}}, r"payload\.a\.0 cannot be written as JSON"),
        ({"payload": CONTAINS_ITSELF}, r"payload\.0 cannot be written as JSON"),
        ({"labels": {"team": "x" * 16_381}}, "labels are 16,385 bytes, the limit is 16,384"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"timeout_s": 1e17}, "timeout_s=1e.17"),
        ({"timeout_s": "5"}, "timeout_s='5'"),
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"max_attempts": 1_001}, "max_attempts=1001: at most 1,000"),
        ({"max_attempts": 2**31}, "max_attempts=2147483648: at most 1,000"),
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


def test_submit_takes_the_fields_of_a_job_by_name_and_no_others() -> None:
    given = {each.name: each.type for each in fields(NewJob) if each.name not in {"job_type", "payload"}}
    assert NewJobFields.__annotations__ == given

    async def misspelled() -> None:
        # mypy reports an ignore that it does not need, so the type checker has to reject these names.
        await InMemoryAsyncClient(client).submit("reports.render", tennant="acme")  # type: ignore[call-arg]

    client = InMemoryClient()
    with pytest.raises(TypeError, match="tennant"):
        client.submit("reports.render", tennant="acme")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="tennant"):
        asyncio.run(misspelled())
    with pytest.raises(TypeError, match="linger"):
        job_client(linger="5")  # type: ignore[call-arg]
    with pytest.raises(InvalidJob, match="lane"):
        client.submit("reports.render", lane=7)  # type: ignore[arg-type]
    assert not client.submitted
