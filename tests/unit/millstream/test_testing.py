"""What `millstream.testing` reports is what a worker decides, and the examples of docs/testing.md pass."""

import asyncio
import contextvars
import inspect
import re
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker import JobTypes, WorkerConfig, registered
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.consumers.worker.execution.outcome import Outcome
from millstream.producers import InvalidJob, JobClient, NewJob, SubmitError
from millstream.schemas import Codec, EventKind, JobRequest, RequestReader
from millstream.testing import (
    EndlessSubmissions,
    HandlerResult,
    InMemoryAsyncClient,
    InMemoryClient,
    fake_context,
    run_handler,
    run_handler_async,
)
from tests.support.paths import ROOT
from tests.support.waiting import until

jobs = JobTypes()


class Order(BaseModel):
    order: int


@jobs.job("succeeds")
async def succeeds(order: Order, context: JobContext) -> None:
    context.progress(0.5, "half")
    context.log.info("packed", order=order.order)
    await asyncio.sleep(0)


@jobs.job("succeeds-in-a-thread")
def succeeds_in_a_thread(order: Order) -> None:
    assert order.order


@jobs.job("raises")
async def raises(payload: dict[str, Any]) -> None:
    raise KeyError(payload["missing"])


@jobs.job("raises-in-a-thread")
def raises_in_a_thread() -> None:
    raise OSError("disk full")


@jobs.job("exits")
def exits() -> None:
    sys.exit(3)


@jobs.job("stops-iteration")
def stops_iteration() -> None:
    next(iter(()))


@jobs.job("own-timeout")
async def own_timeout() -> None:
    raise TimeoutError("the upstream took too long")


@jobs.job("slow", timeout_s=0.05)
async def slow() -> None:
    await asyncio.sleep(60)


@jobs.job("slow-in-a-thread", timeout_s=0.05)
def slow_in_a_thread(context: JobContext) -> None:
    until(lambda: context.cancelled)


@jobs.job("silent", heartbeat_s=0.05)
async def silent(context: JobContext) -> None:
    context.heartbeat()
    await asyncio.sleep(60)


@jobs.job("cancels-itself")
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


@jobs.job("watches-progress")
def watches_progress(context: JobContext) -> None:
    for step in range(10):
        if context.cancelled:
            return
        context.progress(step / 10)


LIKE_A_WORKER = [
    ("succeeds", b'{"order": 7}', {}),
    ("succeeds", b'{"order": "seven"}', {}),
    ("succeeds", b"not JSON", {}),
    ("succeeds-in-a-thread", b'{"order": 7}', {}),
    ("raises", b"{}", {}),
    ("raises-in-a-thread", b"", {}),
    ("exits", b"", {}),
    ("stops-iteration", b"", {}),
    ("own-timeout", b"", {}),
    ("slow", b"", {}),
    ("slow-in-a-thread", b"", {}),
    ("silent", b"", {}),
    ("cancels-itself", b"", {}),
    ("succeeds", b'{"order": 7}', {"deadline": datetime(2020, 1, 1, tzinfo=UTC)}),
]
COMPARED = ("error_type", "error_message", "error_fingerprint")


@pytest.fixture(scope="module")
def worker_decides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[JobRequest], Outcome]]:
    """The outcome that the executor of a worker gives a request."""
    codec = Codec()
    config = WorkerConfig(worker_id="w", concurrency=2)
    journal = CrashJournal(tmp_path_factory.mktemp("worker") / "journal", 50)
    executor = Executor(jobs, config, ["default"], journal)

    def decide(request: JobRequest) -> Outcome:
        value = codec.encode(request)
        execution = Execution(Assignment("jobs.default", 0, "default"), 0, value, RequestReader(codec).read(value))
        executor.submit([execution])
        until(lambda: execution.outcome is not None)
        assert execution.outcome
        return execution.outcome

    with executor:
        yield decide


@pytest.mark.parametrize(("job_type", "payload", "fields"), LIKE_A_WORKER)
def test_an_attempt_ends_as_in_a_worker(
    job_type: str, payload: bytes, fields: dict[str, Any], worker_decides: Callable[[JobRequest], Outcome]
) -> None:
    result = run_handler(job_type, payload, jobs=jobs, **fields)
    theirs = worker_decides(result.request)
    ours = result.outcome
    assert (ours.kind, ours.reason, ours.retryable) == (theirs.kind, theirs.reason, theirs.retryable)
    # The fingerprint of a cancellation without a command names where the worker resumed the coroutine.
    compared = ("error_type", "error_message") if job_type == "cancels-itself" else COMPARED
    assert {what: ours.error.get(what) for what in compared} == {what: theirs.error.get(what) for what in compared}


def test_the_stack_begins_at_the_handler() -> None:
    stack = run_handler(raises_in_a_thread).outcome.error["stack"]
    assert "raises_in_a_thread" in stack
    assert "millstream/testing/" not in stack


def test_a_result_holds_what_the_handler_reported() -> None:
    result = run_handler(succeeds, {"order": 7}, jobs=jobs, tenant="acme", attempt=2, max_attempts=3)
    assert result.succeeded
    assert result.progress == ((0.5, "half"),)
    assert result.heartbeats == 1
    (line,) = result.log
    expected = {"event": "packed", "order": 7, "log_level": "info", "tenant": "acme", "attempt": 2}
    assert expected.items() <= dict(line).items()


def test_a_result_names_job_type_attempt_and_error_where_an_assertion_shows_it() -> None:
    result = run_handler(raises_in_a_thread, jobs=jobs, max_attempts=3)
    assert repr(result) == "<raises-in-a-thread attempt 1 of 3 failed with OSError: disk full>"


def test_an_error_can_be_raised_after_all() -> None:
    with pytest.raises(OSError, match="disk full"):
        run_handler(raises_in_a_thread).raise_for_outcome()
    with pytest.raises(AssertionError, match=r"slow attempt 1 of 1 timed_out"):
        run_handler(slow, jobs=jobs).raise_for_outcome()
    run_handler(succeeds, {"order": 1}).raise_for_outcome()


def test_a_function_that_is_not_registered_runs_without_limits() -> None:
    def sum_up(payload: list[int]) -> None:
        assert sum(payload) == 6

    result = run_handler(sum_up, [1, 2, 3])
    assert result.succeeded
    assert result.request.job_type == "sum_up"


def test_a_name_without_a_handler_is_an_error_of_the_test() -> None:
    with pytest.raises(LookupError, match="'sleeps'; there are: cancels-itself, "):
        run_handler("sleeps", jobs=jobs)


def test_what_no_client_would_submit_is_refused() -> None:
    with pytest.raises(InvalidJob, match="tenant"):
        run_handler(succeeds, {"order": 7}, tenant="")


def test_the_job_may_ask_for_a_shorter_time() -> None:
    async def sleeps() -> None:
        await asyncio.sleep(60)

    assert run_handler(sleeps, timeout_s=0.02).error_message == "still running after 0.02 s"
    soon = run_handler(sleeps, deadline=datetime.now(UTC) + timedelta(seconds=0.05))
    assert soon.timed_out
    assert not soon.retryable


def test_a_function_that_ignores_its_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millstream.testing.local_attempt.STOP_GRACE_S", 0.05)
    end = threading.Event()

    def stubborn() -> None:
        end.wait(300)

    try:
        result = run_handler(stubborn, timeout_s=0.02)
    finally:
        end.set()
    assert result.timed_out
    assert result.still_running


@pytest.mark.parametrize("after_s", [0, 0.05])
@pytest.mark.parametrize("job_type", ["slow", "slow-in-a-thread"])
def test_a_job_can_be_cancelled(job_type: str, after_s: float) -> None:
    handler = jobs.get(job_type)
    assert handler is not None
    result = run_handler(handler.handler, cancel_after_s=after_s)
    assert result.cancelled
    assert not result.retryable


def test_a_job_can_be_cancelled_at_its_progress() -> None:
    result = run_handler(watches_progress, cancel_at_progress=0.3)
    assert result.cancelled
    assert [call.fraction for call in result.progress] == [0, 0.1, 0.2, 0.3]


async def test_the_handler_can_use_the_loop_of_the_test() -> None:
    ready = asyncio.Event()

    async def waits_for_the_test() -> None:
        await ready.wait()

    asyncio.get_running_loop().call_later(0.02, ready.set)
    assert (await run_handler_async(waits_for_the_test)).succeeded


async def test_a_test_that_is_cancelled_is_not_held_up_by_the_handler() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await run_handler_async(cancelled_only_from_outside)


async def cancelled_only_from_outside() -> None:
    await asyncio.sleep(60)


async def test_run_handler_works_while_a_loop_runs() -> None:
    assert run_handler(succeeds, {"order": 7}).succeeded


def test_a_handler_does_not_see_context_variables_of_the_test() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    who.set("the test")
    seen: list[str] = []

    def asks() -> None:
        seen.append(who.get())

    run_handler(asks)
    assert seen == ["nobody"]


def test_a_context_can_be_given_to_a_handler_directly() -> None:
    context = fake_context(tenant="acme", attempt=3, labels={"team": "growth"})
    context.cancelled = True
    watches_progress(context)
    assert (context.tenant, context.attempt, context.request.labels) == ("acme", 3, {"team": "growth"})
    assert not context.progress_calls


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    for job_type in ("succeeds-in-a-thread", "raises-in-a-thread", "slow-in-a-thread", "silent"):
        run_handler(job_type, {"order": 1}, jobs=jobs)
    until(lambda: threading.active_count() <= before)


# --- the client


def test_the_client_takes_and_refuses_what_job_client_does() -> None:
    client: JobClient = InMemoryClient(jobs)
    assert client.submit_many([]) == []
    with pytest.raises(InvalidJob, match="the lanes are"):
        client.submit("succeeds", lane="slow")
    with pytest.raises(InvalidJob, match="payload of 'succeeds' is"):
        InMemoryClient(jobs, max_payload_bytes=10).submit("succeeds", "a long payload")
    for method in ("submit", "submit_many", "close"):
        ours, theirs = getattr(InMemoryClient, method), getattr(JobClient, method)
        assert inspect.signature(ours) == inspect.signature(theirs)


def test_a_batch_with_one_invalid_job_records_none() -> None:
    client = InMemoryClient(jobs)
    with pytest.raises(InvalidJob):
        client.submit_many([NewJob("succeeds", {"order": 1}), NewJob("", {"order": 2})], atomic=True)
    assert not client.submitted


def test_jobs_can_be_listed_by_type_tenant_and_lane() -> None:
    with InMemoryClient(jobs, source="shop") as client:
        first = client.submit("succeeds", Order(order=1), tenant="acme", lane="high")
        client.submit("succeeds", {"order": 2})
        client.submit("raises-in-a-thread", b"\x00", tenant="acme")
    assert [job.payload for job in client.jobs("succeeds")] == [{"order": 1}, {"order": 2}]
    assert len(client.jobs(tenant="acme")) == 2
    assert client.jobs(lane="high") == [client.job(first)]
    assert client.job(first).request.source == "shop"
    assert client.jobs("raises-in-a-thread")[0].payload == b"\x00"
    with pytest.raises(LookupError):
        client.job("01934fd2-7d3a-7c51-8a3e-3a5d3ea2c1f0")


def test_acceptance_is_reported() -> None:
    accepted: list[int] = []
    InMemoryClient(jobs).submit_many([NewJob("succeeds", {"order": n}) for n in range(3)], on_accepted=accepted.append)
    assert accepted == [3]


def test_a_client_can_reject_as_if_kafka_were_away() -> None:
    client = InMemoryClient(jobs)
    with client.rejecting("the topic does not exist"), pytest.raises(SubmitError, match="does not exist") as caught:
        client.submit_many([NewJob("succeeds"), NewJob("succeeds")])
    assert len(caught.value.failed) == 2
    client.submit("succeeds", {"order": 1})
    assert len(client.submitted) == 1


def test_jobs_run_with_all_their_attempts() -> None:
    flaky = JobTypes()
    seen: list[int] = []

    @flaky.job("flaky")
    async def fails_twice(context: JobContext) -> None:
        seen.append(context.attempt)
        if context.attempt < 3:
            raise ConnectionError

    client = InMemoryClient(flaky)
    job_id = client.submit("flaky", max_attempts=5)
    assert client.pending == [client.job(job_id)]
    (ended,) = client.run_pending()
    assert seen == [1, 2, 3]
    assert [each.kind for each in ended.attempts] == [EventKind.FAILED, EventKind.FAILED, EventKind.SUCCEEDED]
    assert not client.pending
    assert not client.dead_letters
    assert client.run_pending() == []


@pytest.mark.parametrize(
    ("job_type", "payload", "attempts", "reason"),
    [
        ("raises-in-a-thread", None, 2, "failed"),
        ("slow", None, 2, "timed_out"),
        ("succeeds", {"order": "seven"}, 1, "invalid_payload"),
        ("nobody-runs-this", None, 1, "unknown_type"),
    ],
)
def test_a_job_without_an_attempt_left_is_a_dead_letter(
    job_type: str, payload: object, attempts: int, reason: str
) -> None:
    client = InMemoryClient(jobs)
    job_id = client.submit(job_type, payload, max_attempts=2)
    client.run_pending()
    assert client.dead_letters == [client.job(job_id)]
    assert len(client.job(job_id).attempts) == attempts
    assert client.job(job_id).dead_letter == reason


def test_jobs_of_an_ordering_key_run_in_order() -> None:
    ordered = JobTypes()
    seen: list[int] = []

    @ordered.job("step")
    async def step(payload: int) -> None:
        await asyncio.sleep(0.01 / (payload + 1))
        seen.append(payload)

    client = InMemoryClient(ordered)
    client.submit_many([NewJob("step", n, ordering_key="invoice-1") for n in range(5)])
    client.run_pending()
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("eager", [False, True])
def test_jobs_that_handlers_submit_run_too(eager: bool) -> None:
    chain = JobTypes()
    client = InMemoryClient(chain, eager=eager)

    @chain.job("parent")
    def parent(payload: int) -> None:
        client.submit_many([NewJob("child", n) for n in range(payload)])

    @chain.job("child")
    async def child(payload: int) -> None:
        assert payload >= 0

    client.submit("parent", 3)
    if not eager:
        assert len(client.run_pending()) == 4
    assert [job.result.succeeded for job in client.submitted] == [True] * 4


def test_a_handler_that_submits_itself_is_stopped() -> None:
    loop = JobTypes()
    client = InMemoryClient(loop, max_executions=20)

    @loop.job("again")
    async def again() -> None:
        client.submit("again")

    client.submit("again")
    with pytest.raises(EndlessSubmissions, match="it ran again 20 times"):
        client.run_pending()


async def test_the_async_client_shares_the_record() -> None:
    client = InMemoryClient(jobs)
    async with InMemoryAsyncClient(client) as async_client:
        job_id = await async_client.submit("succeeds", {"order": 1})
    assert client.job(job_id).pending
    await client.run_pending_async()
    assert client.job(job_id).result.succeeded
    client.eager = True
    job_id = await InMemoryAsyncClient(client).submit("succeeds", {"order": 1})
    assert client.job(job_id).result.succeeded


def test_a_job_that_has_not_run_has_no_result() -> None:
    client = InMemoryClient(jobs)
    job_id = client.submit("succeeds", {"order": 1}, tenant="acme")
    with pytest.raises(AssertionError, match=r"<succeeds of acme, pending, payload .* has not run"):
        _ = client.job(job_id).result


def test_a_thousand_jobs_take_no_more_than_seconds() -> None:
    client = InMemoryClient(jobs)
    client.submit_many([NewJob("succeeds", {"order": n}) for n in range(1000)])
    began = time.monotonic()
    assert len(client.run_pending()) == 1000
    assert time.monotonic() - began < 10


# --- the page

BLOCK = re.compile(r"^```python ?(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGE = BLOCK.findall((ROOT / "docs" / "testing.md").read_text("utf-8"))
MODULES = [code for name, code in PAGE if name]
EXAMPLES = [code for name, code in PAGE if not name]


@pytest.mark.parametrize("code", EXAMPLES, ids=[code.split("def test_")[1].split("(")[0] for code in EXAMPLES])
def test_the_examples_of_the_page_pass(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered, "_types", {})
    handlers = types.ModuleType("handlers")
    monkeypatch.setitem(sys.modules, "handlers", handlers)
    exec("".join(MODULES), handlers.__dict__)
    example: dict[str, Any] = {}
    exec(compile(code, str(Path("docs/testing.md")), "exec"), example)
    tests = [test for name, test in example.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        if inspect.iscoroutinefunction(test):
            asyncio.run(test())
        else:
            test()


def test_the_table_of_the_page_names_what_a_result_has() -> None:
    table = (ROOT / "docs" / "testing.md").read_text("utf-8").split("| of the result |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named <= set(HandlerResult.__dataclass_fields__) | set(dir(HandlerResult))
    assert {"kind", "error", "still_running"} <= named
