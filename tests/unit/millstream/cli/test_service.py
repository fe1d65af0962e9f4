"""Signals to a service."""

import os
import signal
import threading
from collections.abc import Iterator
from queue import Queue

import pytest
from structlog.testing import capture_logs

from millstream.cli.service import ONE_STOP_S, end_after, on_stop_signals, once_in


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_signals_that_arrive_together_are_one_request_to_stop() -> None:
    stops: list[int] = []
    on_stop_signals(lambda: stops.append(1))
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert stops == [1]


def test_a_signal_two_seconds_after_one_that_counted_counts() -> None:
    arriving = [100.0, 101.0, 101.9, 102.0, 103.9, 104.1]
    times, calls = iter(arriving), list[int]()
    stop = once_in(ONE_STOP_S, lambda: calls.append(1), lambda: next(times))
    counted = [stop() or len(calls) for _ in arriving]
    assert counted == [1, 1, 1, 2, 2, 3]


def test_a_process_that_does_not_stop_in_time_ends_and_one_that_was_not_asked_to_goes_on() -> None:
    stop, ended = threading.Event(), Queue[int]()
    with capture_logs() as lines:
        end_after(stop, 0.0, "nothing is lost", ended.put)
        assert ended.empty()
        stop.set()
        assert ended.get(timeout=60) == 4
    assert [(each["event"], each["action"]) for each in lines] == [
        ("stop_timed_out", "the process ends; nothing is lost")
    ]
