"""The loop guard: warns once, blames the job that blocks the event loop, and ends the process past the limit."""

from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from millstream.consumers.worker import loop_guard
from millstream.consumers.worker.execution.crash_journal import CrashJournal
from millstream.consumers.worker.execution.facts import Finished
from millstream.consumers.worker.loop_guard import EventLoopBlocked, EventLoopEnded, LoopGuard
from tests.unit.consumers.worker.conftest import Parts


class ScriptedLoop:
    """An executor whose event loop is late by `late`, because of `blocking`."""

    def __init__(self, blocking: Any = None) -> None:
        self.alive = True
        self.late = 0.0
        self.blocking = blocking
        self.watchdog = self
        self.stuck: Counter[str] = Counter()
        self.running: list[Any] = []
        self.facts: deque[Any] = deque()

    def running_now(self) -> list[Any]:
        return self.running

    def stuck_by_type(self) -> Counter[str]:
        return self.stuck

    def late_s(self) -> float:
        return self.late

    def blocking_coroutine(self) -> tuple[Any, str]:
        return self.blocking, "the stack"


def guard(parts: Parts, loop: ScriptedLoop, journal: CrashJournal, limit_s: float) -> LoopGuard:
    executor: Any = loop
    return LoopGuard(executor, journal, parts.status, parts.metrics, limit_s, most_stuck=2)


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


def test_too_many_stuck_handlers_end_the_worker_and_name_their_job_type(parts: Parts, tmp_path: Path) -> None:
    loop = ScriptedLoop()
    checking = guard(parts, loop, CrashJournal(tmp_path / "journal", 4), 30.0)
    loop.stuck.update(["reports.render", "reports.render"])
    assert checking.too_many_stuck() is None
    loop.stuck.update(["mails.send"])
    error = checking.too_many_stuck()
    assert error is not None and "2 of them of job type 'reports.render'" in str(error)
    assert parts.metrics.stuck == {"reports.render": 2, "mails.send": 1}


@pytest.mark.parametrize("ended_before_the_check", [True, False])
def test_a_session_lost_after_a_job_held_up_the_worker_counts_as_a_death_by_that_job_alone(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_before_the_check: bool
) -> None:
    parts.assign(0)
    holder, innocent = parts.take_requests(2)
    now = 100.0
    monkeypatch.setattr(loop_guard, "time", SimpleNamespace(monotonic=lambda: now))
    journal = CrashJournal(tmp_path / "journal", 4)
    for lost in (1, 2):
        loop = ScriptedLoop()
        checking = guard(parts, loop, journal, 30.0)
        loop.running = [innocent]
        (loop.facts if ended_before_the_check else loop.running).append(
            Finished(holder) if ended_before_the_check else holder
        )
        now += 5.0
        checking.check()
        holder.cpu_ns, innocent.cpu_ns = 4_900_000_000, 100_000_000
        checking.blame()
        assert journal.poison_suspects == ({holder.job_id} if lost == 2 else set())


def test_nobody_is_blamed_for_a_lost_session_when_the_whole_process_was_suspended(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    loop = ScriptedLoop()
    loop.running = parts.take_requests(2)
    now = 100.0
    monkeypatch.setattr(loop_guard, "time", SimpleNamespace(monotonic=lambda: now))
    journal = CrashJournal(tmp_path / "journal", 4)
    checking = guard(parts, loop, journal, 30.0)
    for _ in range(3):
        now += 10.0
        checking.check()
        checking.blame()
    assert not journal.poison_suspects


def test_a_session_lost_while_a_coroutine_blocks_the_loop_counts_against_it(parts: Parts, tmp_path: Path) -> None:
    parts.assign(0)
    (blocking,) = parts.take_requests(1)
    loop = ScriptedLoop(blocking)
    loop.late = 5.0
    journal = CrashJournal(tmp_path / "journal", 4)
    for _ in range(2):
        guard(parts, loop, journal, 30.0).blame()
    assert journal.poison_suspects == {blocking.job_id}
