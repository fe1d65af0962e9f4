"""Running coroutines one after the other in one task: each is as if it had a task of its own."""

import asyncio
import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry import trace

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker import JobTypes, WorkerConfig
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.facts import MESSAGE_LIMIT, Finished, Progress
from millstream.consumers.worker.execution.job_context import JobContext
from millstream.redaction import Redaction
from millstream.schemas import Codec, EventKind, JobRequest, RequestReader
from tests.support.waiting import until

CODEC = Codec()
LIMIT = 3
jobs = JobTypes()
who = contextvars.ContextVar("who", default="nobody")
seen: list[str] = []


@jobs.job("at-once")
async def at_once() -> None:
    seen.append(who.get())
    who.set("somebody")


@jobs.job("waits")
async def waits() -> None:
    await asyncio.sleep(0.01)


@jobs.job("waits-long")
async def waits_long() -> None:
    await asyncio.sleep(60)


@jobs.job("times-out-inside")
async def times_out_inside() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)


@jobs.job("cancels-itself")
async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@jobs.job("limited", timeout_s=0.02)
async def limited() -> None:
    await asyncio.sleep(60)


class WithoutText(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


@jobs.job("raises-without-text")
async def raises_without_text() -> None:
    raise WithoutText


@jobs.job("exits-in-a-task")
async def exits_in_a_task() -> None:
    async def exits() -> None:
        sys.exit(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(exits())


@jobs.job("goes-on", timeout_s=0.05)
async def goes_on() -> None:
    while not released.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


released = threading.Event()


@jobs.job("goes-on-in-a-thread", timeout_s=0.05)
def goes_on_in_a_thread() -> None:
    released.wait(30)


@jobs.job("goes-on-in-silence", heartbeat_s=0.05)
async def goes_on_in_silence() -> None:
    await goes_on()


@jobs.job("leaves-a-timeout")
async def leaves_a_timeout() -> None:
    async def pages() -> AsyncIterator[int]:
        async with asyncio.timeout(0.05):
            yield 1
            yield 2

    left = pages()
    kept.append(left)
    async for _ in left:
        await asyncio.sleep(0)
        break


kept: list[AsyncIterator[int]] = []


@jobs.job("cancels-all")
async def cancels_all() -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


@jobs.job("waits-a-moment")
async def waits_a_moment() -> None:
    await asyncio.sleep(0.2)


@jobs.job("cleans-up")
async def cleans_up() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.2)
        cleaned.append("coroutine")


cleaned: list[str] = []
loops: list[asyncio.AbstractEventLoop] = []


@jobs.job("notes-its-loop")
async def notes_its_loop() -> None:
    loops.append(asyncio.get_running_loop())


@jobs.job("blocks")
async def blocks() -> None:
    time.sleep(0.6)  # noqa: ASYNC251


traces: dict[str, int] = {}


@jobs.job("traced")
async def traced() -> None:
    traces["traced"] = trace.get_current_span().get_span_context().trace_id
    await asyncio.sleep(0.1)


@jobs.job("untraced")
async def untraced() -> None:
    traces["untraced"] = trace.get_current_span().get_span_context().trace_id


@jobs.job("tells-a-secret")
async def tells_a_secret(context: JobContext) -> None:
    context.progress(0.5, "paying with sk_live " * 400)
    raise ValueError("cannot pay with sk_live")


@jobs.job("waits-in-a-thread")
def waits_in_a_thread() -> None:
    time.sleep(0.3)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    config = WorkerConfig(worker_id="w", concurrency=LIMIT)
    with Executor(jobs, config, ["default"], CrashJournal(tmp_path / "journal", 50)) as running:
        yield running


def finished(executor: Executor) -> list[Execution]:
    """The executions that have their outcome, in the order in which they ended."""
    return [fact.execution for fact in executor.facts.copy() if isinstance(fact, Finished)]


def executions(*kinds: str, **fields: object) -> list[Execution]:
    reader, assignment = RequestReader(CODEC), Assignment("jobs.default", 0, "default")
    common = {"tenant": "acme", "payload": b"{}", **fields}
    values = [CODEC.encode(JobRequest.model_validate({**common, "job_type": kind})) for kind in kinds]
    return [Execution(assignment, offset, value, reader.read(value)) for offset, value in enumerate(values)]


def test_what_is_redacted_is_in_no_fact_of_an_execution(tmp_path: Path) -> None:
    config, journal = WorkerConfig(worker_id="w"), CrashJournal(tmp_path / "journal", 50)
    with Executor(jobs, config, ["default"], journal, redaction=Redaction(patterns=["sk_[a-z]+"])) as executor:
        executor.submit(executions("tells-a-secret"))
        until(lambda: bool(finished(executor)))
        (progress,) = (fact for fact in executor.facts.copy() if isinstance(fact, Progress))
        (execution,) = finished(executor)
    assert progress.message.startswith("paying with [redacted] ") and "sk_" not in progress.message
    assert len(progress.message) == MESSAGE_LIMIT
    assert execution.outcome is not None
    assert execution.outcome.error["error_message"] == "cannot pay with [redacted]"
    assert "sk_live" not in execution.outcome.error["stack"]


def test_all_run_and_never_more_at_once_than_allowed(executor: Executor) -> None:
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, executor.running)
        return len(finished(executor)) == 200

    executor.submit(executions(*["at-once", "waits", "at-once", "times-out-inside"] * 50))
    until(all_ended)
    assert 1 < most <= LIMIT
    assert {each.outcome.kind for each in finished(executor) if each.outcome} == {EventKind.SUCCEEDED}


def test_what_one_sets_in_its_context_the_next_does_not_see(executor: Executor) -> None:
    seen.clear()
    executor.submit(executions(*["at-once"] * 20))
    until(lambda: len(finished(executor)) == 20)
    assert seen == ["nobody"] * 20


def test_one_that_is_cancelled_or_cancels_itself_or_times_out_ends_no_other(executor: Executor) -> None:
    stuck = executions(*["waits-long"] * LIMIT)
    executor.submit(stuck)
    until(lambda: executor.running == LIMIT)
    executor.submit(executions(*["at-once", "cancels-itself", "limited", "waits", "times-out-inside"] * 10))
    for each in stuck:
        executor.cancel(each.job_id, "cancelled")
    until(lambda: len(finished(executor)) == LIMIT + 50)
    assert kinds(executor) == {
        "waits-long": {EventKind.CANCELLED},
        "at-once": {EventKind.SUCCEEDED},
        "cancels-itself": {EventKind.SUCCEEDED},
        "limited": {EventKind.TIMED_OUT},
        "waits": {EventKind.SUCCEEDED},
        "times-out-inside": {EventKind.SUCCEEDED},
    }


def test_coroutines_that_never_wait_do_not_starve_the_event_loop(executor: Executor) -> None:
    executor.submit(executions("waits"))
    executor.submit(executions(*["at-once"] * 20_000))
    until(lambda: len(finished(executor)) == 20_001)
    position = [each.job_type for each in finished(executor)].index("waits")
    assert position < 20_000


def test_an_error_without_a_text_ends_its_attempt(executor: Executor) -> None:
    executor.submit(executions("raises-without-text", "at-once"))
    until(lambda: len(finished(executor)) == 2 and not executor.running)
    ended = {each.job_type: each.outcome.kind for each in finished(executor) if each.outcome}
    assert ended == {"raises-without-text": EventKind.FAILED, "at-once": EventKind.SUCCEEDED}


def test_a_task_of_a_job_that_exits_fails_the_job_and_the_loop_continues(executor: Executor) -> None:
    executor.submit(executions("exits-in-a-task"))
    until(lambda: len(finished(executor)) == 1)
    executor.submit(executions("at-once"))
    until(lambda: len(finished(executor)) == 2)
    ended = {each.job_type: each.outcome for each in finished(executor) if each.outcome}
    assert ended["exits-in-a-task"].kind is EventKind.FAILED
    assert ended["exits-in-a-task"].error["error_type"] == "SystemExit"
    assert executor.alive


@pytest.mark.parametrize("kind", ["waits-long", "waits-in-a-thread"])
@pytest.mark.parametrize("left_s", [-1.0, 0.1])
def test_a_job_whose_deadline_has_passed_is_not_tried_again(executor: Executor, kind: str, left_s: float) -> None:
    executor.submit(executions(kind, deadline=datetime.now(UTC) + timedelta(seconds=left_s), max_attempts=1000))
    until(lambda: len(finished(executor)) == 1)
    ended = finished(executor)[0].outcome
    assert ended is not None
    assert ended.kind is EventKind.TIMED_OUT
    assert not ended.retryable


def test_a_job_that_runs_out_of_its_own_time_may_be_tried_again(executor: Executor) -> None:
    executor.submit(executions("limited", deadline=datetime.now(UTC) + timedelta(hours=1)))
    until(lambda: len(finished(executor)) == 1)
    ended = finished(executor)[0].outcome
    assert ended is not None
    assert ended.kind is EventKind.TIMED_OUT
    assert ended.retryable


def test_a_job_without_a_trace_runs_in_none_although_it_was_started_from_another_job(executor: Executor) -> None:
    traceparent = f"00-{5:032x}-{6:016x}-01"
    executor.submit([*executions("traced", traceparent=traceparent), *executions("untraced")])
    until(lambda: len(finished(executor)) == 2)
    assert traces == {"traced": 5, "untraced": 0}


def test_a_coroutine_that_blocks_the_event_loop_is_identified_while_it_does(executor: Executor) -> None:
    until(lambda: executor.watchdog.late_s() == 0)
    blocking = executions("blocks")[0]
    executor.submit([blocking])
    until(lambda: executor.watchdog.late_s() > 0.3)
    job, stack = executor.watchdog.blocking_coroutine()
    assert job is blocking
    assert "time.sleep(0.6)" in stack
    until(lambda: len(finished(executor)) == 1 and executor.watchdog.late_s() == 0)
    assert executor.watchdog.blocking_coroutine()[0] is None


def test_a_loop_that_was_not_checked_for_long_is_not_considered_blocked(executor: Executor) -> None:
    executor.watchdog.late_s()
    executor.submit(executions("blocks", "blocks"))
    time.sleep(1.1)
    assert executor.watchdog.late_s() < 0.1


def test_what_waits_for_a_released_partition_is_dropped_even_while_its_tenant_is_paused(
    executor: Executor,
) -> None:
    executor.change_quotas(lambda quotas: quotas.pause("tenant", "acme"))
    waiting = executions("at-once", "waits", "waits")
    executor.submit(waiting)
    until(lambda: executor.waiting == 3)
    waiting[0].assignment.release()
    executor.cancel_lost()
    until(lambda: executor.waiting == 0)
    assert not executor.queued_by_tenant()


def kinds(executor: Executor) -> dict[str, set[EventKind]]:
    """The outcomes so far, by job type."""
    found: dict[str, set[EventKind]] = {}
    for each in finished(executor):
        assert each.outcome is not None
        found.setdefault(each.job_type, set()).add(each.outcome.kind)
    return found


@pytest.mark.parametrize("kind", ["goes-on", "goes-on-in-a-thread", "goes-on-in-silence"])
def test_a_handler_that_goes_on_past_its_limit_is_timed_out_frees_its_slot_and_is_counted_until_it_ends(
    executor: Executor, kind: str
) -> None:
    released.clear()
    executor.submit(executions(*[kind] * LIMIT))
    until(lambda: executor.stuck_by_type()[kind] == LIMIT)
    assert executor.running == 0
    executor.submit(executions(*["waits"] * LIMIT))
    until(lambda: len(finished(executor)) == 2 * LIMIT)
    released.set()
    until(lambda: not executor.stuck_by_type())
    assert kinds(executor) == {kind: {EventKind.TIMED_OUT}, "waits": {EventKind.SUCCEEDED}}
    assert len(finished(executor)) == 2 * LIMIT


def test_a_handler_that_goes_on_when_its_job_is_cancelled_frees_its_slot(executor: Executor) -> None:
    released.clear()
    stubborn = executions("goes-on", timeout_ms=None)[0]
    executor.submit([stubborn])
    until(lambda: executor.running == 1)
    executor.cancel(stubborn.job_id, "not needed")
    until(lambda: executor.stuck_by_type().total() == 1)
    released.set()
    until(lambda: not executor.stuck_by_type())
    assert kinds(executor) == {"goes-on": {EventKind.CANCELLED}}


def test_a_timeout_that_a_job_leaves_behind_ends_no_other_job(executor: Executor) -> None:
    executor.set_concurrency(1)
    executor.submit(executions("leaves-a-timeout", "waits-a-moment"))
    until(lambda: len(finished(executor)) == 2)
    assert set().union(*kinds(executor).values()) == {EventKind.SUCCEEDED}
    kept.clear()


def test_a_job_that_cancels_all_tasks_fails_no_other_job(executor: Executor) -> None:
    executor.submit(executions("waits-a-moment", "waits-a-moment", "waits-in-a-thread", "waits-in-a-thread"))
    until(lambda: executor.running == 4)
    executor.submit(executions("cancels-all", "waits", "waits"))
    until(lambda: len(finished(executor)) == 7)
    assert set().union(*kinds(executor).values()) == {EventKind.SUCCEEDED}
    assert executor.running == 0


def test_finally_blocks_run_when_the_executor_stops(executor: Executor) -> None:
    cleaned.clear()
    executor.submit(executions(*["cleans-up"] * LIMIT))
    until(lambda: executor.running == LIMIT)
    executor.stop(5)
    assert cleaned == ["coroutine"] * LIMIT
    assert not executor.alive


def test_a_session_that_ends_cancels_its_jobs_and_the_next_one_has_the_same_event_loop_and_all_slots(
    executor: Executor,
) -> None:
    loops.clear()
    old = executions("notes-its-loop", *["waits-long"] * 2 * LIMIT)
    executor.submit(old)
    until(lambda: executor.running == LIMIT and executor.waiting == LIMIT)
    old[0].assignment.release()
    executor.cancel_all(5)
    assert executor.running == executor.waiting == 0
    executor.facts.clear()
    executor.start_again()
    executor.submit(executions("notes-its-loop", *["waits"] * LIMIT))
    until(lambda: len(finished(executor)) == LIMIT + 1)
    assert loops[0] is loops[1]
