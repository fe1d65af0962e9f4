"""Limits how often the libraries below the tracker log the same thing.

Their clients log each attempt: with a topic missing that is more than a thousand lines a second.
"""

import logging
import time
from collections.abc import Callable

from millstream.line_rate import LineRate

LIBRARIES = ("faust", "mode", "aiokafka")
LIBRARY_LOGGER = logging.getLogger("faust.tracker")
"""The logger of classes derived from Faust's: without it they log as Millstream's modules."""

INTERVAL_S = 10.0
"""Seconds between two lines of one kind."""


class LogLimit(logging.Filter):
    """Passes the first line of a kind at once, then one every `INTERVAL_S` seconds that says how many were left out. A
    kind is the text of a library's line before its arguments are put in. Thread-safe, as a handler's lock is held."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._rate = LineRate(INTERVAL_S, clock)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        left_out = self._rate.admit((record.name, str(record.msg)[:100]))
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more since the last such line)", None
        return left_out is not None


def limit_library_logs() -> None:
    """Limit the lines of the libraries in every handler that there is now."""
    limit = LogLimit()
    for handler in logging.getLogger().handlers:
        handler.addFilter(limit)
