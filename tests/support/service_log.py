"""What a service writes to its log, with the moment of each line."""

import re
import time
from collections import Counter
from collections.abc import Sequence

from millstream.rights.table import Right

GIVES_RIGHTS = "millstream acls"
"""What a message about a missing right names as the way to find all of them."""


VARYING = r'"(attempt|left_out|records|timestamp)": [^,}]+'
"""Fields of a line that differ each time it is written."""


class ServiceLog:
    """The lines of a service, which logs JSON. `mark` is a place in it; the others look at what came after one."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, str]] = []

    def add(self, line: str) -> None:
        self._lines.append((time.monotonic(), line))

    @property
    def mark(self) -> int:
        return len(self._lines)

    def contains(self, text: str, since: int) -> bool:
        return any(text in line for _, line in self._lines[since:])

    def count(self, text: str, since: int) -> int:
        return sum(text in line for _, line in self._lines[since:])

    def alarms(self, since: int) -> list[str]:
        """The lines that are warnings or worse, or no lines of the log at all."""
        return [line for _, line in self._lines[since:] if '"level": "info"' not in line]

    def told(self, user: str, missing: Sequence[Right], since: int) -> float | None:
        """When all of these rights, and what gives them, had been named; None while they are not. The error of a
        service that ends is wrapped, so a sentence may be on several lines."""
        text = ""
        for moment, line in self._lines[since:]:
            text = f"{text} {' '.join(line.split())}"
            if GIVES_RIGHTS in text and all(names(text, user, each) for each in missing):
                return moment
        return None

    def most_repeated(self, user: str, missing: Sequence[Right], since: int) -> int:
        """How often the line that names one of these rights most often was written, whatever in it counts or tells the
        time."""
        lines = [re.sub(VARYING, "", line) for _, line in self._lines[since:] if GIVES_RIGHTS in line]
        found = Counter(line for line in lines if any(names(line, user, each) for each in missing))
        return max(found.values(), default=0)


def names(text: str, user: str, right: Right) -> bool:
    """Whether a text says that the user lacks a right: a sentence, or the fields of a line of the log. A right to all
    resources that begin so may be named by one of them."""
    resource = re.escape(f"{right.row.kind} {right.name}")
    if right.row.kind == "cluster":
        resource = "the cluster"
    end = "" if right.row.pattern == "prefixed" else r"(?![\w.-])"
    user, operation = re.escape(user), re.escape(right.operation)
    sentence = rf"user '{user}' has no right to {operation} {resource}{end}"
    fields = rf'"user": "{user}", "operation": "{operation}", "resource": "{resource}{end}'
    return re.search(f"{sentence}|{fields}", text) is not None
