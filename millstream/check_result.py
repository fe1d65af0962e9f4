"""What a check of `millstream doctor` found."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `fix`: what to do when the status is not "ok"."""

    check: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""


Check = Callable[[], Iterable[CheckResult]]


def side_by_side(checks: Sequence[Check]) -> Iterator[CheckResult]:
    """What these checks find, in their order. They wait for servers, so they run at the same time."""
    with ThreadPoolExecutor(len(checks)) as pool:
        for found in pool.map(lambda check: list(check()), checks):
            yield from found
