"""The loop guard: warns once, blames the job that blocks the event loop, and ends the process past the limit."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.loop_guard import EventLoopBlocked, EventLoopEnded, LoopGuard
from tests.unit.consumers.worker.conftest import Parts


class ScriptedLoop:
    """An executor whose event loop is late by `late`, because of `blocking`."""

    def __init__(self, blocking: Any = None) -> None:
        self.alive = True
        self.late = 0.0
        self.blocking = blocking
        self.watchdog = self

    def late_s(self) -> float:
        return self.late

    def blocking_coroutine(self) -> tuple[Any, str]:
        return self.blocking, "the stack"


def guard(parts: Parts, loop: ScriptedLoop, journal: CrashJournal, limit_s: float) -> LoopGuard:
    executor: Any = loop
    return LoopGuard(executor, journal, parts.status, parts.metrics, limit_s)


def test_a_late_loop_is_reported_once_with_the_job_that_blocks_it(parts: Parts, tmp_path: Path) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    loop = ScriptedLoop(execution)
    checking = guard(parts, loop, CrashJournal(tmp_path / "journal", 4), 0)
    with capture_logs() as logs:
        for late_s in (0.1, 2.0, 3.0):
            loop.late = late_s
            checking.check()
    (warning,) = [each for each in logs if each["event"] == "event_loop_blocked"]
    assert execution.job_id in warning["by"] and warning["stack"] == "the stack"
    assert parts.metrics.loop_late_s == 3.0


def test_past_the_limit_the_process_ends_and_the_crash_journal_blames_it(parts: Parts, tmp_path: Path) -> None:
    parts.assign(0)
    blocking, innocent = parts.take_requests(2)
    path = tmp_path / "journal"
    for _ in range(2):
        journal = CrashJournal(path, 4)
        for each in (blocking, innocent):
            journal.begin(each.read.key, each.execution_id)
        loop = ScriptedLoop(blocking)
        loop.late = 31.0
        with pytest.raises(EventLoopBlocked, match=blocking.job_id):
            guard(parts, loop, journal, 30.0).check()
        assert parts.status.loop_blocked.is_set()
    assert CrashJournal(path, 4).poison_suspects == {blocking.job_id}


def test_an_event_loop_whose_thread_ended_ends_the_process(parts: Parts, tmp_path: Path) -> None:
    loop = ScriptedLoop()
    loop.alive = False
    with pytest.raises(EventLoopEnded):
        guard(parts, loop, CrashJournal(tmp_path / "journal", 4), 30.0).check()
