"""Handlers: what may be one, and what it is called with."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from millstream.consumers.worker import JobContext, JobTypes
from millstream.schemas import JobRequest


class Report(BaseModel):
    number: int


def context() -> JobContext:
    return JobContext(JobRequest(tenant="acme", job_type="a"), "run-1", lambda *_: None)


def test_a_handler_is_given_its_typed_payload_and_the_context() -> None:
    jobs = JobTypes()

    @jobs.job("reports.render")
    async def render(report: Report, context: JobContext) -> None: ...

    described = jobs.get("reports.render")
    assert described is not None
    assert described.runs_on == "loop"
    report, given = described.arguments(b'{"number": 7}', context())
    assert report == Report(number=7)
    assert isinstance(given, JobContext)


def test_handlers_may_take_less() -> None:
    jobs = JobTypes()

    @jobs.job("nothing")
    def nothing() -> None: ...

    @jobs.job("raw")
    def raw(payload: bytes) -> None: ...

    @jobs.job("untyped")
    def untyped(payload, verbose=False) -> None: ...  # type: ignore[no-untyped-def]

    by_name = {each.name: each for each in jobs}
    assert by_name["nothing"].arguments(b"{}", context()) == ()
    assert by_name["raw"].arguments(b"\xff", context()) == (b"\xff",)
    assert by_name["untyped"].arguments(b"[1, 2]", context()) == ([1, 2],)
    assert by_name["nothing"].runs_on == "thread"


class Service:
    async def __call__(self, report: Report) -> None: ...


async def render_for(tenant: str, report: Report) -> None: ...


async def pages(report: Report) -> AsyncIterator[int]:
    yield report.number


def lines(report: Report) -> Iterator[int]:
    yield report.number


@pytest.mark.parametrize("handler", [pages, lines, functools.partial(lines)])
def test_a_handler_of_which_a_call_runs_nothing_is_refused(handler: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="yield"):
        JobTypes().job("reports.render")(handler)


@pytest.mark.parametrize("handler", [Service(), functools.partial(render_for, "acme")])
def test_an_object_or_partial_that_is_called_as_a_coroutine_runs_on_the_event_loop(handler: Callable[..., Any]) -> None:
    jobs = JobTypes()
    jobs.job("reports.render")(handler)
    described = jobs.get("reports.render")
    assert described is not None
    assert described.runs_on == "loop"


def test_a_payload_that_the_handler_does_not_take_is_refused() -> None:
    jobs = JobTypes()

    @jobs.job("reports.render")
    async def render(report: Report) -> None: ...

    described = jobs.get("reports.render")
    assert described is not None
    for payload in (b"", b"{}", b'{"number": "x"}', b"not json", b"\xff"):
        with pytest.raises(ValidationError):
            described.arguments(payload, context())


def test_two_handlers_for_one_job_type_are_refused() -> None:
    jobs = JobTypes()
    jobs.job("a")(lambda: None)
    with pytest.raises(ValueError, match="already has the handler"):
        jobs.job("a")(lambda: None)


def test_a_handler_with_two_payloads_is_refused() -> None:
    with pytest.raises(ValueError, match="takes first, second"):
        JobTypes().job("a")(lambda first, second: None)


def test_progress_is_throttled_but_the_last_report_is_kept() -> None:
    reported: list[float] = []
    speaking = JobContext(JobRequest(tenant="a", job_type="b"), "run-1", lambda fraction, _: reported.append(fraction))
    for step in range(1, 101):
        speaking.progress(step / 100)
    assert reported == [0.01, 1.0]


def test_the_idempotency_key_outlives_the_execution() -> None:
    request = JobRequest(tenant="a", job_type="b")
    first, second = (JobContext(request, run, lambda *_: None) for run in ("run-1", "run-2"))
    assert first.idempotency_key == second.idempotency_key
    assert first.execution_id != second.execution_id


@pytest.mark.parametrize("name", ["a+b", "", "a b", "a\n", ".a", "x" * 129, "\u00e9", None])
def test_a_name_that_no_job_can_have_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="no job could have this type"):
        JobTypes().job(name)(lambda: None)
