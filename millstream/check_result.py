"""What a check of `millstream doctor` found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `fix`: what to do when the status is not "ok"."""

    check: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""
