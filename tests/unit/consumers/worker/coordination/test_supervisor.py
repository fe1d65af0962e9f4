"""Several worker processes under one parent."""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from millstream.consumers.worker import Supervisor
from tests.support.waiting import until


class Children:
    """A supervisor of Python children that run `code`, each of which notes its start in a file of its name."""

    def __init__(
        self, folder: Path, names: Sequence[str], code: str, grace_s: float = 30.0, end_within_s: float = 30.0
    ) -> None:
        self._folder = folder
        self._code = f"import os, signal, sys, time\nopen(sys.argv[1], 'a').write(f'{{os.getpid()}} ')\n{code}"
        self.supervisor = Supervisor(names, self._command, grace_s, end_within_s)
        self.exit_code: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _command(self, name: str) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", self._code, str(self._folder / name)], dict(os.environ)

    def _run(self) -> None:
        self.exit_code = self.supervisor.run()

    def pids(self, name: str) -> list[int]:
        file = self._folder / name
        return [int(pid) for pid in file.read_text().split()] if file.exists() else []

    def stop(self) -> int | None:
        self.supervisor.stop()
        self._thread.join(30)
        return self.exit_code


def test_a_child_that_dies_is_back_under_its_own_name_and_the_others_stay(tmp_path: Path) -> None:
    children = Children(tmp_path, ["a", "b"], "time.sleep(60)")
    try:
        until(lambda: len(children.pids("a")) == 1 and len(children.pids("b")) == 1)
        os.kill(children.pids("a")[0], 9)
        until(lambda: len(children.pids("a")) == 2)
        assert len(children.pids("b")) == 1
    finally:
        children.stop()


def test_a_child_that_dies_repeatedly_is_restarted_ever_later(tmp_path: Path) -> None:
    children = Children(tmp_path, ["a"], "open(sys.argv[1] + '.at', 'a').write(f'{time.time()} ')\nsys.exit(1)")
    until(lambda: len(children.pids("a")) >= 4)
    children.stop()
    times = [float(each) for each in (tmp_path / "a.at").read_text().split()]
    # The first comes back at once, the following after a quarter of a second, half a second and so on.
    assert times[2] - times[1] >= 0.25
    assert times[3] - times[2] >= 0.5


def test_the_exit_code_is_the_highest_of_the_children(tmp_path: Path) -> None:
    code = "code = 4 if sys.argv[1].endswith('b') else 0\nsignal.signal(15, lambda *_: sys.exit(code))\n"
    children = Children(tmp_path, ["a", "b"], code + "open(sys.argv[1] + '.set', 'w')\ntime.sleep(60)")
    until(lambda: (tmp_path / "a.set").exists() and (tmp_path / "b.set").exists())
    assert children.stop() == 4


def test_a_child_that_a_signal_ended_counts_as_a_shell_counts_it(tmp_path: Path) -> None:
    code = "signal.signal(15, lambda *_: os.kill(os.getpid(), 9))\nopen(sys.argv[1] + '.set', 'w')\ntime.sleep(60)"
    children = Children(tmp_path, ["a"], code)
    until((tmp_path / "a.set").exists)
    assert children.stop() == 128 + 9


def test_a_child_that_is_stopped_while_it_still_starts_is_no_error(tmp_path: Path) -> None:
    children = Children(tmp_path, ["a"], "time.sleep(60)")
    until(lambda: len(children.pids("a")) == 1)
    assert children.stop() == 0


def test_a_second_stop_reaches_the_children_too(tmp_path: Path) -> None:
    code = "seen = []\nsignal.signal(15, lambda *_: seen.append(1))\nopen(sys.argv[1] + '.set', 'w')\n"
    code += "while len(seen) < 2:\n    time.sleep(0.01)\n    open(sys.argv[1] + f'.{len(seen)}', 'w')\nsys.exit(4)"
    children = Children(tmp_path, ["a"], code)
    until((tmp_path / "a.set").exists)
    children.supervisor.stop()
    until((tmp_path / "a.1").exists)
    assert children.stop() == 4


def test_a_child_that_does_not_end_within_its_grace_period_is_killed(tmp_path: Path) -> None:
    code = "signal.signal(15, signal.SIG_IGN)\nopen(sys.argv[1] + '.set', 'w')\ntime.sleep(600)"
    children = Children(tmp_path, ["a"], code, grace_s=0.1, end_within_s=0.1)
    until((tmp_path / "a.set").exists)
    assert children.stop() == 128 + 9


def test_a_child_that_does_not_end_after_a_second_stop_is_killed_before_its_grace_period_ends(tmp_path: Path) -> None:
    code = "signal.signal(15, signal.SIG_IGN)\nopen(sys.argv[1] + '.set', 'w')\ntime.sleep(600)"
    children = Children(tmp_path, ["a"], code, grace_s=600, end_within_s=0.2)
    until((tmp_path / "a.set").exists)
    children.supervisor.stop()
    assert children.stop() == 128 + 9
