"""A slot for child processes: each job gets its own answer, whatever became of the job before it."""

import errno
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.process import ORIGINAL_DIR  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import psutil
import pytest

from millstream.consumers.worker import JobContext
from millstream.consumers.worker.execution.current_job import job_fields
from millstream.consumers.worker.execution.outcome import SUCCEEDED
from millstream.consumers.worker.execution.process_child import MESSAGE_LENGTH, ProcessTask, TaskAnswer
from millstream.consumers.worker.execution.process_pool import MIB, ChildUnavailable, ProcessLimits, ProcessSlot
from millstream.schemas import EventKind, JobRequest
from millstream.schemas.ids import new_id
from millstream.telemetry import configure_logging
from tests.support.waiting import until

NO_LIMITS = ProcessLimits()


def speaks_oddly(context: JobContext) -> None:
    context.progress(0.5, None)  # type: ignore[arg-type]
    context.progress(1.0, "caf\udce9.txt")
    time.sleep(0.3)


def sleeps() -> None:
    time.sleep(0.3)


def leaves_a_talker_behind(context: JobContext) -> None:
    def talk() -> None:
        while True:
            context.heartbeat()
            time.sleep(0.01)

    threading.Thread(target=talk, daemon=True).start()


def forks_and_exits() -> None:
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    os._exit(3)


def starts_a_program() -> None:
    subprocess.run(["sleep", "98765"], check=False)


def starts_a_program_in_a_session_of_its_own() -> None:
    subprocess.run(["sleep", "98765"], check=False, start_new_session=True)


def eats_memory_in_a_program() -> None:
    code = "x = bytearray(150 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(20)"
    subprocess.run([sys.executable, "-c", code], check=False)


def computes_in_a_program() -> None:
    code = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)


def reports_from_two_threads(context: JobContext) -> None:
    done = threading.Event()

    def send_heartbeat() -> None:
        while not done.is_set():
            context.on_heartbeat()

    beating = threading.Thread(target=send_heartbeat)
    beating.start()
    try:
        for step in range(30):
            context._progress_at = 0.0
            context.progress(step / 100, "x" * 200_000)
    finally:
        done.set()
        beating.join()


def logs() -> None:
    logging.getLogger("handler").info("from a child")


def notes_its_folder() -> None:
    assert Path.cwd() == Path(ORIGINAL_DIR)


async def coroutine() -> None:
    raise KeyError("the coroutine ran")


def returns_a_coroutine() -> Any:
    return coroutine()


def returns_a_generator() -> Any:
    return (each for each in "ab")


def sleepers() -> set[int]:
    """The programs that a handler of this module started and that are alive."""
    found = set()
    for each in psutil.process_iter(["cmdline", "status"]):
        if each.info["cmdline"] == ["sleep", "98765"] and each.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(each.pid)
    return found


@pytest.fixture
def slot() -> Iterator[ProcessSlot]:
    made = ProcessSlot()
    yield made
    made.kill()


def run(
    slot: ProcessSlot,
    handler: object,
    limits: ProcessLimits = NO_LIMITS,
    messages: Callable[[float, str], None] | None = None,
) -> TaskAnswer:
    name = getattr(handler, "__name__", "")
    task = ProcessTask(__name__, name, name, new_id(), JobRequest(tenant="a", job_type=name))
    return slot.run(task, limits, threading.Event(), messages or (lambda fraction, text: None))


def test_a_job_whose_progress_cannot_be_taken_leaves_no_answer_to_the_next(slot: ProcessSlot) -> None:
    def refuses(fraction: float, text: str) -> None:
        raise ValueError("not taken")

    with pytest.raises(ValueError, match="not taken"):
        run(slot, speaks_oddly, messages=refuses)
    begun = time.monotonic()
    assert run(slot, sleeps).outcome.kind is EventKind.SUCCEEDED
    assert time.monotonic() - begun >= 0.3


def test_unusual_progress_arrives_as_text_that_an_event_can_hold(slot: ProcessSlot) -> None:
    messages: list[tuple[float, str]] = []
    answer = run(slot, speaks_oddly, messages=lambda fraction, text: messages.append((fraction, text)))
    assert answer.outcome.kind is EventKind.SUCCEEDED
    assert messages == [(0.5, "None"), (1.0, "caf\\udce9.txt")]


def test_what_an_earlier_handler_left_behind_does_not_answer_for_the_next(slot: ProcessSlot) -> None:
    run(slot, leaves_a_talker_behind)
    answer = run(slot, sleeps, ProcessLimits(silence_s=0.15))
    assert answer.outcome.kind is EventKind.TIMED_OUT


def test_a_crash_is_detected_at_once_although_a_forked_process_lives_on(slot: ProcessSlot) -> None:
    begun = time.monotonic()
    answer = run(slot, forks_and_exits)
    assert "exited with code 3" in answer.outcome.error["error_message"]
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("handler", [starts_a_program, starts_a_program_in_a_session_of_its_own])
def test_a_time_out_ends_the_programs_that_the_handler_started(slot: ProcessSlot, handler: object) -> None:
    answer = run(slot, handler, ProcessLimits(seconds=0.7))
    assert answer.outcome.kind is EventKind.TIMED_OUT
    until(lambda: not sleepers(), within_s=10)


def test_the_end_of_a_slot_ends_the_programs_that_the_handler_started(slot: ProcessSlot) -> None:
    running = threading.Thread(target=run, args=(slot, starts_a_program))
    running.start()
    until(lambda: len(sleepers()) == 1)
    slot.kill()
    running.join(10)
    assert not running.is_alive()
    until(lambda: not sleepers(), within_s=10)


def test_the_memory_of_programs_counts_for_the_limit(slot: ProcessSlot) -> None:
    answer = run(slot, eats_memory_in_a_program, ProcessLimits(rss_bytes=120 * MIB))
    assert answer.outcome.error["error_type"] == "MemoryExceeded"
    assert answer.peak_rss_bytes > 120 * MIB


def test_the_cpu_time_of_programs_counts(slot: ProcessSlot) -> None:
    answer = run(slot, computes_in_a_program)
    assert answer.outcome.kind is EventKind.SUCCEEDED
    assert answer.cpu_ms >= 500


def test_messages_of_two_threads_do_not_mix_and_a_long_text_is_cut(slot: ProcessSlot) -> None:
    texts: list[str] = []
    answer = run(slot, reports_from_two_threads, messages=lambda fraction, text: texts.append(text))
    assert answer.outcome.kind is EventKind.SUCCEEDED
    assert texts == ["x" * MESSAGE_LENGTH] * 30


def test_a_child_that_cannot_be_started_is_no_failure_of_the_job_and_the_slot_heals(
    slot: ProcessSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as refusing:
        refusing.setattr(subprocess, "Popen", refused)
        for _ in range(2):
            with pytest.raises(ChildUnavailable, match="Resource temporarily unavailable"):
                run(slot, sleeps)
            slot.kill()
    assert run(slot, sleeps).outcome.kind is EventKind.SUCCEEDED


def test_a_child_that_ends_before_it_takes_the_job_is_no_failure_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = ProcessSlot(sys.exit)
    with pytest.raises(ChildUnavailable, match="exited with code 0 before it took a job"):
        run(slot, sleeps)


def test_a_child_starts_although_the_working_directory_was_removed(slot: ProcessSlot, tmp_path: Path) -> None:
    before = Path.cwd()
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        answer = run(slot, notes_its_folder)
    finally:
        os.chdir(before)
    assert answer.outcome == SUCCEEDED


def test_a_child_logs_as_its_worker(capfd: pytest.CaptureFixture[str]) -> None:
    slot = ProcessSlot(partial(configure_logging, "json", current_fields=job_fields, service="w1"))
    assert run(slot, logs).outcome == SUCCEEDED
    slot.kill()
    (line,) = [each for each in capfd.readouterr().err.splitlines() if "from a child" in each]
    logged = json.loads(line)
    assert (logged["event"], logged["level"], logged["service"]) == ("from a child", "info", "w1")
    assert (logged["job_type"], logged["tenant"], logged["attempt"]) == ("logs", "a", 1)
    assert len(logged["job_id"]) == 36


def test_a_coroutine_that_a_handler_returns_is_run_and_a_generator_is_an_error(slot: ProcessSlot) -> None:
    assert run(slot, returns_a_coroutine).outcome.error["error_message"] == "'the coroutine ran'"
    assert run(slot, returns_a_generator).outcome.error["error_type"] == "GeneratorReturned"


def test_a_worker_that_is_process_1_runs_handlers_in_processes() -> None:
    code = """
        import os, sys, threading
        assert os.getpid() == 1
        from tests.unit.consumers.worker.execution import test_process_pool as here
        slot = here.ProcessSlot()
        answer = here.run(slot, here.sleeps)
        slot.kill()
        print(answer.outcome.kind.value, answer.outcome.error)
    """
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this host does not allow PID namespaces (unshare)")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    ran = subprocess.run(
        [*command, sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert ran.stdout.strip() == "succeeded {}", ran.stderr
