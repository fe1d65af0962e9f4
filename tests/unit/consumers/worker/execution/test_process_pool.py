"""A place for child processes: each job gets its own answer, whatever became of the job before it."""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from millstream.consumers.worker import JobContext
from millstream.consumers.worker.execution.process_child import Answer, Task
from millstream.consumers.worker.execution.process_pool import Limits, ProcessPlace
from millstream.schemas import EventKind, JobRequest
from millstream.schemas.models import new_id

NO_LIMITS = Limits()


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
def place() -> Iterator[ProcessPlace]:
    made = ProcessPlace()
    yield made
    made.kill()


def run(place: ProcessPlace, handler: object, limits: Limits = NO_LIMITS, heard: object = None) -> Answer:
    name = getattr(handler, "__name__", "")
    task = Task(__name__, name, name, new_id(), JobRequest(tenant="a", job_type=name))
    return place.run(task, limits, threading.Event(), heard or (lambda fraction, text: None))  # type: ignore[arg-type]


def test_a_job_whose_progress_cannot_be_taken_leaves_no_answer_to_the_next(place: ProcessPlace) -> None:
    def refuses(fraction: float, text: str) -> None:
        raise ValueError("not taken")

    with pytest.raises(ValueError, match="not taken"):
        run(place, speaks_oddly, heard=refuses)
    begun = time.monotonic()
    assert run(place, sleeps).outcome.kind is EventKind.SUCCEEDED
    assert time.monotonic() - begun >= 0.3


def test_odd_progress_arrives_as_text_that_an_event_can_hold(place: ProcessPlace) -> None:
    heard: list[tuple[float, str]] = []
    answer = run(place, speaks_oddly, heard=lambda fraction, text: heard.append((fraction, text)))
    assert answer.outcome.kind is EventKind.SUCCEEDED
    assert heard == [(0.5, "None"), (1.0, "caf\\udce9.txt")]


def test_what_an_earlier_handler_left_behind_does_not_speak_for_the_next(place: ProcessPlace) -> None:
    run(place, leaves_a_talker_behind)
    answer = run(place, sleeps, Limits(silence_s=0.15))
    assert answer.outcome.kind is EventKind.TIMED_OUT


def test_a_crash_is_seen_at_once_though_a_forked_process_lives_on(place: ProcessPlace) -> None:
    begun = time.monotonic()
    answer = run(place, forks_and_exits)
    assert "exited with code 3" in answer.outcome.error["error_message"]
    assert time.monotonic() - begun < 4
