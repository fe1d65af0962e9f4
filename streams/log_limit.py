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


_MEANINGS = (
    (
        (
            "Unable connect to node",
            "Unable to update metadata",
            "Unable to request metadata",
            "Failed fetch messages",
            "Group Coordinator Request failed",
            "FindCoordinator Request failed",
            "Error sending %s to node",
            "Marking the coordinator dead",
            "Heartbeat send request failed",
            "Got error produce response: ",
        ),
        "a broker does not answer; the tracker tries again and goes on where it stopped",
    ),
    (
        ("Topic %s not found in cluster metadata",),
        "the topic does not exist, and the tracker waits for it: millstream topics apply",
    ),
)
"""How lines of a library begin that have one cause, and what that means for the tracker. They are of one kind."""


class LogLimit(logging.Filter):
    """Passes the first line of a kind at once, then one every `INTERVAL_S` seconds that says how many were left out. A
    kind is the text of a library's line before its arguments are put in; lines of one known cause are of one kind.
    Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._rate = LineRate(INTERVAL_S, clock)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        text = str(record.msg)
        meaning = next((meaning for starts, meaning in _MEANINGS if text.startswith(starts)), "")
        left_out = self._rate.admit(meaning or (record.name, text[:100]))
        if left_out is None:
            return False
        more = f" ({left_out} more since the last such line)" if left_out else ""
        if more or meaning:
            record.msg = f"{record.getMessage()}{more}{': ' if meaning else ''}{meaning}"
            record.args = None
        return True


def limit_library_logs() -> None:
    """Limit the lines of the libraries in every handler that there is now."""
    # A busy host delays Faust's timers, on which nothing depends.
    logging.getLogger("mode.timers").setLevel(logging.CRITICAL)
    limit = LogLimit()
    for handler in logging.getLogger().handlers:
        handler.addFilter(limit)
