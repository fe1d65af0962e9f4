"""Each way to run a handler: arguments, time limits, cancellation, and what it leaves behind."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from millstream.consumers.worker import JobContext, JobTypes
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome
from millstream.consumers.worker.execution.runners import LoopRunner, ProcessRunner, Runner, ThreadRunner
from millstream.consumers.worker.execution.time_limits import timeout_s
from millstream.schemas import DeadReason, EventKind
from tests.unit.consumers.worker.execution.made import execution

jobs = JobTypes()
release = threading.Event()


class Number(BaseModel):
    number: int


@jobs.job("adds", timeout_s=30)
async def adds(payload: Number, context: JobContext) -> None:
    context.progress(0.5, str(payload.number))


@jobs.job("waits", timeout_s=0.02)
async def waits() -> None:
    await asyncio.sleep(60)


@jobs.job("silent", heartbeat_s=0.2)
async def silent(context: JobContext) -> None:
    for _ in range(3):
        context.heartbeat()
        await asyncio.sleep(0.1)
    await asyncio.sleep(60)


@jobs.job("plain", timeout_s=30)
def plain(payload: Number) -> None:
    assert threading.current_thread() is not threading.main_thread()


@jobs.job("stuck", timeout_s=0.02)
def stuck() -> None:
    release.wait(10)


@jobs.job("raises-stop")
def raises_stop() -> None:
    raise StopIteration


@jobs.job("in-a-process", runs_on="process")
def in_a_process(payload: Number) -> None:
    assert payload.number == 7


@jobs.job("in-a-process-for-long", runs_on="process", timeout_s=60)
def in_a_process_for_long() -> None:
    time.sleep(60)


progress: list[tuple[float, str]] = []


def on_progress(_: Execution, fraction: float, message: str) -> None:
    progress.append((fraction, message))


async def run(runner: Runner, name: str, **fields: object) -> Outcome:
    job_type = jobs.get(name)
    assert job_type is not None
    made = execution(name, **fields)
    made.begin()
    return await runner.run(job_type, made)


async def test_a_coroutine_gets_its_payload_and_its_context() -> None:
    progress.clear()
    assert await run(LoopRunner(on_progress, lambda: None), "adds", payload=b'{"number": 7}') is SUCCEEDED
    assert progress == [(0.5, "7")]


async def test_a_payload_that_the_handler_does_not_accept_is_rejected_without_running_it() -> None:
    progress.clear()
    ended = await run(LoopRunner(on_progress, lambda: None), "adds", payload=b'{"number": "x"}')
    assert (ended.reason, ended.retryable, progress) == (DeadReason.INVALID_PAYLOAD, False, [])


async def test_a_coroutine_past_its_limit_is_timed_out() -> None:
    ended = await run(LoopRunner(on_progress, lambda: None), "waits")
    assert (ended.kind, ended.error["error_message"]) == (EventKind.TIMED_OUT, "still running after 0.02 s")


async def test_a_handler_that_sends_no_heartbeat_is_timed_out_and_each_heartbeat_extends_its_time() -> None:
    began = time.monotonic()
    ended = await run(LoopRunner(on_progress, lambda: None), "silent")
    assert ended.error["error_message"] == "no heartbeat for 0.2 s"
    assert time.monotonic() - began > 0.35


async def test_the_first_wait_of_a_coroutine_is_reported_once() -> None:
    waited: list[int] = []
    await run(LoopRunner(on_progress, lambda: waited.append(1)), "waits")
    assert waited == [1]


async def test_a_plain_function_runs_in_a_thread() -> None:
    threads = ThreadRunner(on_progress, asyncio.get_running_loop(), 1)
    assert await run(threads, "plain", payload=b'{"number": 1}') is SUCCEEDED
    threads.stop()


async def test_a_thread_that_is_stuck_is_replaced_and_costs_no_slot() -> None:
    release.clear()
    threads = ThreadRunner(on_progress, asyncio.get_running_loop(), 1)
    ended = await run(threads, "stuck")
    assert ended.kind is EventKind.TIMED_OUT
    assert await run(threads, "plain", payload=b'{"number": 1}') is SUCCEEDED
    release.set()
    threads.stop()


async def test_a_function_that_was_cancelled_is_cancelled_even_if_it_returns() -> None:
    threads = ThreadRunner(on_progress, asyncio.get_running_loop(), 1)
    job_type = jobs.get("plain")
    assert job_type is not None
    made = execution("plain", payload=b'{"number": 1}')
    made.begin()
    made.cancelled = "not needed"
    assert (await threads.run(job_type, made)).kind is EventKind.CANCELLED
    threads.stop()


async def test_an_error_that_a_future_cannot_carry_is_raised_as_another() -> None:
    threads = ThreadRunner(on_progress, asyncio.get_running_loop(), 1)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run(threads, "raises-stop")
    threads.stop()


async def test_a_handler_in_a_process_is_run_and_ended_with_its_process_when_it_is_cancelled() -> None:
    processes = ProcessRunner(on_progress, asyncio.get_running_loop(), 1)
    ended = await run(processes, "in-a-process", payload=b'{"number": 7}')
    assert ended.kind is EventKind.SUCCEEDED
    job_type = jobs.get("in-a-process-for-long")
    assert job_type is not None
    made = execution("in-a-process-for-long")
    made.begin()
    running = asyncio.create_task(processes.run(job_type, made))
    await asyncio.sleep(0.5)
    made.cancel("not needed")
    assert (await asyncio.wait_for(running, 10)).kind is EventKind.CANCELLED
    processes.stop()


def test_the_shortest_of_handler_request_and_deadline_limits_a_run() -> None:
    job_type = jobs.get("adds")
    assert job_type is not None
    assert timeout_s(job_type, execution("adds")) == 30
    assert timeout_s(job_type, execution("adds", timeout_ms=500)) == 0.5
    soon = timeout_s(job_type, execution("adds", deadline=datetime.now(UTC) + timedelta(seconds=2)))
    assert soon is not None and 1 < soon < 2
    assert timeout_s(job_type, execution("adds", deadline=datetime.now(UTC) - timedelta(seconds=2))) == 0
    unlimited = jobs.get("raises-stop")
    assert unlimited is not None and timeout_s(unlimited, execution("raises-stop")) is None
