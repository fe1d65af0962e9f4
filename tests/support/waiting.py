"""Waiting for what comes to pass, and failing when it takes longer than a very long time."""

import time
from collections.abc import Callable
from typing import Any


def until(holds: Callable[[], bool], within_s: float = 120) -> None:
    """Return as soon as it holds."""
    eventually(holds, lambda held: held, within_s, every_s=0.005)


def eventually(
    ask: Callable[[], Any], enough: Callable[[Any], bool], within_s: float = 120, every_s: float = 0.1
) -> Any:
    """What `ask` returns once it is `enough`."""
    deadline = time.monotonic() + within_s
    while not enough(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer}"
        time.sleep(every_s)
    return answer
