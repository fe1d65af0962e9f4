"""A slot for child processes: each job gets its own answer, whatever became of the job before it."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from millstream.consumers.worker import JobContext
from millstream.consumers.worker.execution.process_child import ProcessTask, TaskAnswer
from millstream.consumers.worker.execution.process_pool import ProcessLimits, ProcessSlot
from millstream.schemas import EventKind, JobRequest
from millstream.schemas.ids import new_id

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
