"""The CPU time of an attempt is that of all that its handler starts through asyncio, and of nothing else."""

import asyncio
import contextvars
import json
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker import JobTypes, WorkerConfig
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.current_job import job_fields
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.facts import Finished
from millstream.schemas import Codec, EventKind, JobRequest, RequestReader
from millstream.telemetry import configure_logging
from tests.support.waiting import until

CODEC = Codec()
BURNT_MS = 100.0
jobs = JobTypes()
name_of_job: contextvars.ContextVar[str] = contextvars.ContextVar("name_of_job")


def burn(ms: float = BURNT_MS) -> str:
    """Use so much CPU time of this thread."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    return "burnt"


async def burn_later(ms: float = BURNT_MS) -> str:
    await asyncio.sleep(0)
    return burn(ms)


@jobs.job("itself")
async def itself() -> None:
    await burn_later()


@jobs.job("create_task")
async def create_task() -> None:
    task = asyncio.create_task(burn_later(), name="a name")
    assert (task.get_name(), await task) == ("a name", "burnt")


@jobs.job("gather")
async def gather() -> None:
    assert {*await asyncio.gather(burn_later(BURNT_MS / 2), burn_later(BURNT_MS / 2))} == {"burnt"}


@jobs.job("TaskGroup")
async def task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(nested())


async def nested() -> None:
    await asyncio.gather(burn_later(), asyncio.sleep(0.01))


@jobs.job("wait_for")
async def wait_for() -> None:
    await asyncio.wait_for(burn_later(), 30)


@jobs.job("to_thread")
async def to_thread() -> None:
    name_of_job.set("to_thread")

    def in_thread() -> str:
        assert threading.current_thread() is not threading.main_thread()
        assert name_of_job.get() == "to_thread"
        return burn()

    assert await asyncio.to_thread(in_thread) == "burnt"


@jobs.job("run_in_executor")
async def run_in_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, burn)


@jobs.job("thread")
def thread() -> None:
    burn()


@jobs.job("idle")
async def idle() -> None:
    await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(3)))


@jobs.job("cancels-before-the-start")
async def cancels_before_the_start() -> None:
    task = asyncio.create_task(burn_later())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "burn_later" in repr(task)
    assert task.get_stack() == []


@jobs.job("raises-in-a-task")
async def raises_in_a_task() -> None:
    async def raises() -> None:
        await asyncio.sleep(0)
        raise KeyError("of the task")

    await asyncio.gather(raises())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., dict[str, Execution]]]:
    """Runs jobs of these types at once; returns the executions by type."""
    with Executor(jobs, WorkerConfig(worker_id="w"), ["default"], CrashJournal(tmp_path / "j", 50)) as executor:

        def run_all(*types: str) -> dict[str, Execution]:
            assignment, reader = Assignment("jobs.default", 0, "default"), RequestReader(CODEC)
            values = [CODEC.encode(JobRequest(tenant="acme", job_type=each, payload=b"{}")) for each in types]
            made = [Execution(assignment, n, value, reader.read(value)) for n, value in enumerate(values)]
            executor.submit(made)
            until(lambda: sum(isinstance(fact, Finished) for fact in executor.facts.copy()) == len(made))
            return {each.job_type: each for each in made}

        yield run_all


BURNING = ("itself", "create_task", "gather", "TaskGroup", "wait_for", "to_thread", "run_in_executor", "thread")


def test_tasks_and_threads_of_a_handler_count_for_its_attempt_and_for_no_other(
    run: Callable[..., dict[str, Execution]],
) -> None:
    ended = run(*BURNING, "idle")
    assert {each.outcome.kind for each in ended.values() if each.outcome} == {EventKind.SUCCEEDED}
    for name in BURNING:
        assert BURNT_MS <= ended[name].cpu_ms < 1.9 * BURNT_MS, (name, ended[name].cpu_ms)
    assert ended["idle"].cpu_ms < BURNT_MS / 2


def test_a_task_that_is_measured_is_cancelled_and_fails_like_any_other(
    run: Callable[..., dict[str, Execution]],
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = run("cancels-before-the-start", "raises-in-a-task")
    outcomes = {name: each.outcome for name, each in ended.items()}
    succeeded, failed = outcomes["cancels-before-the-start"], outcomes["raises-in-a-task"]
    assert succeeded is not None and succeeded.kind is EventKind.SUCCEEDED, succeeded
    assert failed is not None and failed.error["error_type"] == "KeyError"
    assert "raises_in_a_task.<locals>.raises" in failed.error["stack"] or "in raises" in failed.error["stack"]
    assert [str(each.message) for each in caught if "never awaited" in str(each.message)] == []


@jobs.job("logs")
async def logs() -> None:
    logging.getLogger("of.the.handler").warning("from a coroutine")
    await asyncio.to_thread(logging.getLogger("of.the.handler").warning, "from asyncio's thread")
    await asyncio.create_task(say("from a task"))


async def say(text: str) -> None:
    structlog.get_logger("of.the.handler").warning(text)


@jobs.job("logs-in-a-thread")
def logs_in_a_thread() -> None:
    logging.getLogger().warning("from a thread")


def test_lines_that_handlers_log_carry_the_job_and_the_service(
    run: Callable[..., dict[str, Execution]], capfd: pytest.CaptureFixture[str]
) -> None:
    handlers, level, before = logging.root.handlers[:], logging.root.level, structlog.get_config()
    try:
        configure_logging("json", current_fields=job_fields, service="w1")
        ended = run("logs", "logs-in-a-thread")
        logging.getLogger("of.the.worker").warning("outside of a job")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.configure(**before)
    lines = {line["event"]: line for line in map(json.loads, capfd.readouterr().err.splitlines())}
    for event, job_type in {
        "from a coroutine": "logs",
        "from asyncio's thread": "logs",
        "from a task": "logs",
        "from a thread": "logs-in-a-thread",
    }.items():
        line = lines[event]
        assert (line["job_id"], line["job_type"]) == (ended[job_type].job_id, job_type), event
        assert (line["tenant"], line["attempt"], line["service"]) == ("acme", 1, "w1")
    assert lines["from a coroutine"]["logger"] == "of.the.handler"
    assert "job_id" not in lines["outside of a job"]
    assert lines["outside of a job"]["service"] == "w1"
