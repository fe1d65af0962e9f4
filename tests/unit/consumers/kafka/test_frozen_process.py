"""A process whose interpreter is held for ever while it leaves its groups ends, and says where it stood."""

import subprocess
import sys
import time
from functools import partial

import pytest

from millstream.consumers.kafka.frozen_process import run_or_exit
from tests.support.paths import ROOT

FREEZES = """
import ctypes
from millstream.consumers.kafka.frozen_process import run_or_exit

def hold_the_interpreter_while_leaving():
    ctypes.PyDLL(None).sleep(100)

run_or_exit([hold_the_interpreter_while_leaving], 0.5)
"""


def test_a_process_that_is_frozen_while_it_leaves_ends_and_shows_where() -> None:
    command = [sys.executable, "-c", FREEZES]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "hold_the_interpreter_while_leaving" in ended.stderr


def test_leaving_that_takes_long_in_a_process_that_runs_is_waited_for() -> None:
    left: list[float] = []

    def leave(takes_s: float) -> None:
        time.sleep(takes_s)
        left.append(takes_s)

    run_or_exit([partial(leave, 2.5), partial(leave, 0.0)], 2.0)
    assert left == [0.0, 2.5]


def test_an_error_while_leaving_is_raised() -> None:
    def fail() -> None:
        raise ValueError("cannot leave")

    with pytest.raises(ValueError, match="cannot leave"):
        run_or_exit([fail])
