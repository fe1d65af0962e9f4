"""The CPU time of an attempt holds that of the threads, programs and pools that its handler starts, in every kind of
executor, and of nothing else; what is started behaves as it does elsewhere."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.worker import JobContext, JobTypes, WorkerConfig
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.current_job import LoggedJob, current_attempt
from millstream.consumers.worker.execution.execution import Execution
from millstream.consumers.worker.execution.executor import Executor
from millstream.consumers.worker.execution.facts import Finished
from millstream.consumers.worker.execution.metered_starts import meter_what_is_started
from millstream.schemas import Codec, EventKind, JobRequest, RequestReader
from tests.support.waiting import until

CODEC = Codec()
BURNT_MS = 300.0
AT_LEAST_MS, AT_MOST_MS = 200.0, 1.9 * BURNT_MS
BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
BURN_FOR_EVER = "while True: pass"
PROGRAM = (sys.executable, "-S", "-I", "-c", BURN)
SPAWN = multiprocessing.get_context("spawn")

jobs = JobTypes()
shared_threads = ThreadPoolExecutor(4)
burning: dict[str, "threading.Event"] = {"thread": threading.Event()}
released = threading.Event()


def burn() -> None:
    end = time.thread_time() + BURNT_MS / 1000
    while time.thread_time() < end:
        pass


async def create_subprocess_exec() -> None:
    program = await asyncio.create_subprocess_exec(*PROGRAM)
    assert await program.wait() == 0


async def create_subprocess_shell() -> None:
    # A program of the program.
    program = await asyncio.create_subprocess_shell(f"{sys.executable} -S -I -c '{BURN}'; exit 3")
    assert await program.wait() == 3


async def run_in_asyncio_thread() -> None:
    await asyncio.to_thread(run_directly)


def run_directly() -> None:
    subprocess.run(PROGRAM, check=True)


def polled_program() -> None:
    program = subprocess.Popen(PROGRAM)
    while program.poll() is None:
        time.sleep(0.01)
    assert program.returncode == 0


def own_thread() -> None:
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()


def program_of_a_thread() -> None:
    thread = threading.Thread(target=run_directly)
    thread.start()
    thread.join()


def own_threads_pool() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(burn).result()


async def threads_pool_of_all() -> None:
    await asyncio.get_running_loop().run_in_executor(shared_threads, burn)


def own_process() -> None:
    process = SPAWN.Process(target=exec, args=(BURN, {}))
    process.start()
    process.join()
    assert process.exitcode == 0


def processes_pool() -> None:
    with ProcessPoolExecutor(1, SPAWN) as pool:
        assert pool.submit(eval, "1 + 1").result() == 2
        pool.submit(exec, BURN, {}).result()


def failing_call_in_a_pool() -> None:
    with ProcessPoolExecutor(1, SPAWN) as pool, suppress(ZeroDivisionError):
        pool.submit(exec, f"{BURN}\n1 / 0", {}).result()


def program_that_outlives_the_attempt() -> None:
    program = subprocess.Popen([*PROGRAM[:-1], BURN_FOR_EVER], start_new_session=True)
    outliving.append(program)
    until(lambda: psutil.Process(program.pid).cpu_times().user > BURNT_MS / 1000)


def thread_that_outlives_the_attempt() -> None:
    burnt = threading.Event()

    def burn_and_go_on() -> None:
        burn()
        burnt.set()
        released.wait()

    threading.Thread(target=burn_and_go_on, daemon=True).start()
    burnt.wait()


outliving: list["subprocess.Popen[bytes]"] = []
WAYS: dict[str, Callable[[], Awaitable[None] | None]] = {
    each.__name__: each
    for each in (
        create_subprocess_exec,
        create_subprocess_shell,
        run_in_asyncio_thread,
        run_directly,
        polled_program,
        own_thread,
        program_of_a_thread,
        own_threads_pool,
        threads_pool_of_all,
        own_process,
        processes_pool,
        failing_call_in_a_pool,
        program_that_outlives_the_attempt,
        thread_that_outlives_the_attempt,
    )
}
# Their own start is counted too, and takes longer than that of a bare interpreter.
HEAVY = {"own_process", "program_that_outlives_the_attempt"}


@jobs.job("loop")
async def on_the_loop(way: bytes) -> None:
    if (waits := WAYS[way.decode()]()) is not None:
        await waits


def elsewhere(way: bytes) -> None:
    async def wait(waits: Awaitable[None]) -> None:
        await waits

    if (waits := WAYS[way.decode()]()) is not None:
        asyncio.run(wait(waits))


@jobs.job("thread")
def in_a_thread(way: bytes) -> None:
    elsewhere(way)


@jobs.job("process", runs_on="process")
def in_a_process(way: bytes) -> None:
    elsewhere(way)


@jobs.job("idle")
async def idle() -> None:
    await asyncio.sleep(0.2)


@jobs.job("idle-thread")
def idle_thread() -> None:
    time.sleep(0.2)


@jobs.job("goes-on")
def goes_on(context: JobContext) -> None:
    burn()
    burning["thread"].set()
    released.wait()


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    config = WorkerConfig(worker_id="w", job_processes=2)
    released.clear()
    with Executor(jobs, config, ["default"], CrashJournal(tmp_path / "j", 50)) as executor:
        yield executor
        released.set()
    while outliving:
        program = outliving.pop()
        program.kill()
        program.wait()


def submit(executor: Executor, *submitted: tuple[str, str]) -> list[Execution]:
    assignment, reader = Assignment("jobs.default", 0, "default"), RequestReader(CODEC)
    requests = [JobRequest(tenant="acme", job_type=name, payload=payload.encode()) for name, payload in submitted]
    values = [CODEC.encode(each) for each in requests]
    made = [Execution(assignment, n, value, reader.read(value)) for n, value in enumerate(values)]
    executor.submit(made)
    return made


def ended(executor: Executor, *submitted: tuple[str, str]) -> list[Execution]:
    made = submit(executor, *submitted)
    until(lambda: sum(isinstance(fact, Finished) for fact in executor.facts.copy()) == len(made), 120)
    return made


@pytest.mark.parametrize("kind", ["loop", "thread", "process"])
def test_what_a_handler_starts_counts_for_its_attempt_and_for_no_other(executor: Executor, kind: str) -> None:
    idle = [("idle", ""), ("idle-thread", "")] * 2
    *burnt, idle1, idle2, idle3, idle4 = ended(executor, *((kind, way) for way in WAYS), *idle)
    for way, each in zip(WAYS, burnt, strict=True):
        assert each.outcome is not None
        assert each.outcome.kind is EventKind.SUCCEEDED, (way, each.outcome)
        most = 10 * AT_MOST_MS if way in HEAVY else AT_MOST_MS
        assert AT_LEAST_MS <= each.cpu_ms < most, (way, each.cpu_ms)
    assert max(each.cpu_ms for each in (idle1, idle2, idle3, idle4)) < AT_LEAST_MS / 2


def test_a_plain_function_that_goes_on_after_its_attempt_is_counted_until_then(executor: Executor) -> None:
    (execution,) = submit(executor, ("goes-on", ""))
    burning["thread"].wait()
    executor.cancel(execution.job_id, "enough")
    until(lambda: execution.outcome is not None, 60)
    assert execution.outcome is not None
    assert execution.outcome.kind is EventKind.CANCELLED
    assert execution.cpu_ms >= AT_LEAST_MS


@pytest.fixture
def attempt() -> Iterator[LoggedJob]:
    """An attempt in whose context the test runs."""
    meter_what_is_started()
    attempt = LoggedJob({})
    token = current_attempt.set(attempt)
    yield attempt
    current_attempt.reset(token)


def test_the_memory_of_a_program_counts_for_the_attempt_that_started_it(attempt: LoggedJob) -> None:
    size = psutil.Process().memory_info().rss + (64 << 20)
    program = f"x = bytearray({size})\nfor i in range(0, {size}, 4096): x[i] = 1"
    subprocess.run([*PROGRAM[:-1], program], check=True)
    assert attempt.started is not None
    assert attempt.started.close().peak_rss_bytes >= size


def test_codes_signals_and_time_outs_of_programs_are_those_of_python(attempt: LoggedJob) -> None:
    program = subprocess.Popen([*PROGRAM[:-1], BURN_FOR_EVER])
    assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired) as late:
        program.wait(timeout=0.01)
    assert late.value.timeout == 0.01
    program.send_signal(signal.SIGUSR1)
    assert program.wait() == program.poll() == -signal.SIGUSR1
    assert subprocess.run(["sh", "-c", "exit 7"], check=False).returncode == 7
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/nonexistent/program"])
    with pytest.raises(ChildProcessError):
        os.waitpid(program.pid, 0)
    taken = subprocess.Popen(["true"])
    os.waitid(os.P_PID, taken.pid, os.WEXITED)
    assert taken.poll() == 0


def test_a_program_that_stops_and_goes_on_has_not_ended(attempt: LoggedJob) -> None:
    program = subprocess.Popen([*PROGRAM[:-1], f"import os, signal; os.kill(os.getpid(), signal.SIGSTOP)\n{BURN}"])
    pid, status = os.waitpid(program.pid, os.WUNTRACED)
    assert (pid, os.WIFSTOPPED(status)) == (program.pid, True)
    program.send_signal(signal.SIGCONT)
    assert program.wait() == 0
    assert attempt.started is not None
    assert attempt.started.close().programs_cpu_ns >= AT_LEAST_MS * 1e6


class Sum(threading.Thread):
    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers, self.sum = numbers, 0

    def run(self) -> None:
        self.sum = sum(self.numbers)


def test_a_thread_runs_its_own_run_once_and_raises_what_python_raises(
    attempt: LoggedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = Sum(1, 2)
    thread.start()
    thread.join()
    assert (thread.sum, "run" in vars(thread)) == (3, False)
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        thread.start()
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    failing = threading.Thread(target=int, args=("no number",))
    failing.start()
    failing.join()
    assert [each.exc_type for each in raised] == [ValueError]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_error_in_a_pool_is_the_error_that_was_raised(attempt: LoggedJob, kind: str) -> None:
    pool: Pool = ThreadPoolExecutor(1) if kind == "threads" else ProcessPoolExecutor(1, SPAWN)
    with pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
        with pytest.raises(ValueError, match="invalid literal") as caught:
            pool.submit(int, "no number").result()
        assert caught.value.args == ("invalid literal for int() with base 10: 'no number'",)
        assert "__reduce_ex__" not in vars(caught.value)
        if kind == "processes":
            assert "no number" in str(caught.value.__cause__)
            with pytest.raises(Exception, match="pickle"):
                pool.submit(eval, "lambda: 0").result()
            with pytest.raises(Exception, match="pickle"):
                pool.submit(lambda: 0).result()
