"""Each way to run a handler: arguments, time limits, cancellation, and what it leaves behind."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from millstream.consumers.worker import JobContext, JobTypes
from millstream.consumers.worker.execution import process_pool
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.outcome import SUCCEEDED, Outcome, failed
from millstream.consumers.worker.execution.returned import GeneratorReturned
from millstream.consumers.worker.execution.runners import (
    LoopRunner,
    NotStarted,
    ProcessRunner,
    Runner,
    ThreadCall,
    ThreadRunner,
)
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


@jobs.job("waits-shortly")
async def waits_shortly() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


ran: list[str] = []


def timed(handler: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(handler)
    def call() -> Any:
        return handler()

    return call


async def coroutine() -> None:
    await asyncio.sleep(0)
    ran.append("coroutine")


jobs.job("decorated")(timed(coroutine))


@jobs.job("returns-a-coroutine")
async def returns_a_coroutine() -> Any:
    return coroutine()


@jobs.job("returns-a-generator")
def returns_a_generator() -> Any:
    return (each for each in ("never", "read"))


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


class StoppedAtOnce:
    """Ends a run like `Stopping`, and leaves no handler behind."""

    def __init__(self) -> None:
        self.ends_as: list[Outcome] = []

    def stop(self, execution: Execution, ends_as: Outcome) -> None:
        self.ends_as.append(ends_as)
        execution.signal_cancelled()
        assert execution.stop_running is not None
        execution.stop_running()


def on_loop(on_first_wait: Callable[[], None] = lambda: None) -> LoopRunner:
    return LoopRunner(on_progress, never_stopped, on_first_wait)


def in_threads() -> ThreadRunner:
    return ThreadRunner(on_progress, never_stopped, asyncio.get_running_loop(), 1)


def never_stopped(execution: Execution, ends_as: Outcome) -> None:
    raise AssertionError(f"{execution.job_type} was stopped: {ends_as}")


async def run(runner: Runner, name: str, **fields: object) -> Outcome:
    job_type = jobs.get(name)
    assert job_type is not None
    made = execution(name, **fields)
    made.begin()
    task = asyncio.create_task(runner.run(job_type, made))
    made.stop_running = task.cancel
    return await task


async def stopped_as(name: str) -> Outcome:
    """What the runner of the event loop stops a job for."""
    stopped = StoppedAtOnce()
    with pytest.raises(asyncio.CancelledError):
        await run(LoopRunner(on_progress, stopped.stop, lambda: None), name)
    (ends_as,) = stopped.ends_as
    return ends_as


async def test_a_coroutine_gets_its_payload_and_its_context() -> None:
    progress.clear()
    assert await run(on_loop(), "adds", payload=b'{"number": 7}') is SUCCEEDED
    assert progress == [(0.5, "7")]


async def test_a_payload_that_the_handler_does_not_accept_is_rejected_without_running_it() -> None:
    progress.clear()
    ended = await run(on_loop(), "adds", payload=b'{"number": "x"}')
    assert (ended.reason, ended.retryable, progress) == (DeadReason.INVALID_PAYLOAD, False, [])


async def test_a_coroutine_past_its_limit_is_stopped() -> None:
    ended = await stopped_as("waits")
    assert (ended.kind, ended.error["error_message"]) == (EventKind.TIMED_OUT, "still running after 0.02 s")


async def test_a_handler_that_sends_no_heartbeat_is_stopped_and_each_heartbeat_extends_its_time() -> None:
    began = time.monotonic()
    ended = await stopped_as("silent")
    assert ended.error["error_message"] == "no heartbeat for 0.2 s"
    assert time.monotonic() - began > 0.35


async def test_the_first_wait_of_a_coroutine_is_reported_once() -> None:
    waited: list[int] = []
    await run(on_loop(lambda: waited.append(1)), "waits-shortly")
    assert waited == [1]


async def test_a_plain_function_runs_in_a_thread() -> None:
    threads = in_threads()
    assert await run(threads, "plain", payload=b'{"number": 1}') is SUCCEEDED
    threads.stop()


async def test_a_thread_that_is_stuck_is_replaced_and_its_run_ends_with_it() -> None:
    release.clear()
    threads = in_threads()
    job_type = jobs.get("stuck")
    assert job_type is not None
    made = execution("stuck")
    made.begin()
    stuck = asyncio.create_task(threads.run(job_type, made))
    await asyncio.sleep(0.01)
    stuck.cancel()
    assert made.on_left_behind is not None
    made.on_left_behind()
    assert await run(threads, "plain", payload=b'{"number": 1}') is SUCCEEDED
    assert not stuck.done(), "a thread cannot be cancelled"
    release.set()
    assert await asyncio.wait_for(stuck, 10) is SUCCEEDED
    threads.stop()


async def test_a_thread_that_the_host_refuses_starts_nothing_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = in_threads()

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as refusing:
        refusing.setattr(threading.Thread, "start", refused)
        for _ in range(2):
            with pytest.raises(NotStarted, match="can't start new thread"):
                await run(threads, "plain", payload=b'{"number": 1}')
    assert await asyncio.wait_for(run(threads, "plain", payload=b'{"number": 1}'), 10) is SUCCEEDED
    threads.stop()


@pytest.mark.parametrize("name", ["decorated", "returns-a-coroutine"])
async def test_a_coroutine_that_a_handler_returns_is_run(name: str) -> None:
    job_type = jobs.get(name)
    assert job_type is not None
    ran.clear()
    threads = in_threads()
    runner = on_loop() if job_type.runs_on == "loop" else threads
    assert await run(runner, name) is SUCCEEDED
    assert ran == ["coroutine"]
    threads.stop()


async def test_a_generator_that_a_handler_returns_is_an_error() -> None:
    threads = in_threads()
    with pytest.raises(GeneratorReturned, match="returned a generator"):
        await run(threads, "returns-a-generator")
    threads.stop()


async def test_an_error_that_a_future_cannot_carry_is_raised_as_another() -> None:
    threads = in_threads()
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
    assert made.stop_running is not None
    made.stop_running()
    assert (await asyncio.wait_for(running, 10)).kind is EventKind.CANCELLED
    processes.stop()


async def test_the_start_of_a_process_does_not_count_as_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_slowly(preparation: dict[str, Any], set_up: bytes) -> Any:
        time.sleep(1)
        return start(preparation, set_up)

    start = process_pool._start_child
    monkeypatch.setattr(process_pool, "_start_child", start_slowly)
    processes = ProcessRunner(on_progress, asyncio.get_running_loop(), 1)
    job_type = jobs.get("in-a-process")
    assert job_type is not None
    made = execution("in-a-process", payload=b'{"number": 7}')
    made.begin()
    assert await processes.run(job_type, made) == SUCCEEDED
    processes.stop()
    assert 0 < made.run_ms < 1000


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


def raises_stop_iteration() -> None:
    next(iter(()))


async def test_a_function_that_raises_stop_iteration_keeps_its_stack() -> None:
    call = ThreadCall(asyncio.get_running_loop(), raises_stop_iteration)
    call()
    with pytest.raises(RuntimeError) as caught:
        await call.returned()
    described = failed(caught.value).error
    assert "in raises_stop_iteration" in described["stack"]
    assert described["error_fingerprint"] != failed(RuntimeError()).error["error_fingerprint"]
