"""Services that end are started again: at once the first time, later each time they end soon."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from millstream.local.process import DidNotStart
from millstream.local.services import RunningService, ServiceLog
from millstream.local.watch import ENDED_AT_ONCE_S, ServiceWatch, StackWatch


class Scripted:
    """A service that runs until `end`."""

    def __init__(self) -> None:
        self.service = SimpleNamespace(name="worker-1")
        self.starts = 0
        self.alive = True
        self.responds = False
        self.process = SimpleNamespace(is_alive=lambda: self.alive, returncode=1, tail="the last line")

    def start(self) -> None:
        self.starts += 1
        self.alive = True


class Watched:
    def __init__(self) -> None:
        self.now = 1000.0
        self.service = Scripted()
        self.lines: list[Any] = []
        log = SimpleNamespace(write=lambda name, fields: self.lines.append((name, fields)))
        running = cast(list[RunningService], [self.service])
        self.watch = ServiceWatch(running, cast(ServiceLog, log), lambda: self.now)


def test_a_service_that_ended_after_a_while_is_started_at_once() -> None:
    watched = Watched()
    watched.now += 2 * ENDED_AT_ONCE_S
    watched.service.alive = False
    watched.watch.restart_ended()
    assert watched.service.starts == 1
    assert watched.lines[0][0] == "worker-1" and watched.lines[0][1]["exit_code"] == 1


def test_a_service_that_ends_again_and_again_is_started_ever_later() -> None:
    watched = Watched()
    starts = []
    for second in range(40):
        watched.now = 1000.0 + second
        watched.service.alive = False
        before = watched.service.starts
        watched.watch.restart_ended()
        if watched.service.starts > before:
            starts.append(second)
    assert starts == [0, 2, 5, 10, 19, 36]
    assert len(watched.lines) == len(starts) + 1, "one line each time that it ends"


def test_a_service_that_cannot_run_with_its_settings_ends_the_wait_with_its_last_words() -> None:
    watched = Watched()
    assert watched.watch.not_ready() == ["worker-1"]
    watched.service.alive, watched.service.process.returncode = False, 2
    with pytest.raises(DidNotStart, match="worker-1 cannot run:\nthe last line"):
        watched.watch.not_ready()


def test_a_broker_that_ends_again_and_again_is_started_ever_later_and_each_start_is_a_line() -> None:
    now = [1000.0]
    starts: list[float] = []
    lines: list[Any] = []

    def restart() -> list[str]:
        starts.append(now[0] - 1000.0)
        return ["Kafka node 1 had ended and is started again"]

    log = SimpleNamespace(write=lambda name, fields: lines.append((name, fields["event"])))
    watch = StackWatch(restart, cast(ServiceLog, log), lambda: now[0])
    for second in range(40):
        now[0] = 1000.0 + second
        watch.restart_ended()
    assert starts == [0, 1, 2, 4, 8, 16, 32]
    assert lines == [("up", "Kafka node 1 had ended and is started again")] * len(starts)


def test_a_stack_that_runs_is_asked_each_time_and_writes_nothing() -> None:
    asked = 0

    def restart() -> list[str]:
        nonlocal asked
        asked += 1
        return []

    watch = StackWatch(restart, cast(ServiceLog, None), lambda: 1000.0)
    watch.restart_ended()
    watch.restart_ended()
    assert asked == 2
