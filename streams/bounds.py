"""What is believed of an event and kept in a state, so that no record makes a state that cannot be written.

Whoever may write to `jobs.events` decides what an event holds. Ids that are longer than any of Millstream's make it
unusable; texts and labels are cut; a number that is none is left out. The times of an event are measured by the time at
which the broker appended it: what lies before 1970, or further ahead than clocks are apart, is not a time that anything
happened at.
"""

import math
import re
from collections.abc import Mapping

MAX_ID = 256
"""Characters of an id or a name; Millstream's own have 128 at most."""

MAX_TEXT = 2_000
"""Characters of a text for people that a state keeps: an event may carry megabytes, a state must stay small."""

MAX_LABELS = 16 * 1024
"""Characters of all keys and values of a state's labels together; a producer sends at most as many bytes."""

MAX_INT = 2**31 - 1
"""The largest `int` of Avro. fastavro reads larger ones all the same, and other languages do not."""

MAX_STATE_BYTES = 256 * 1024
"""No state within these bounds is larger, whatever its characters: a twelfth of the largest record of `jobs.states`."""

CLOCKS_APART_US = 24 * 3600 * 1_000_000
"""How far ahead of the broker's clock a time may lie, in microseconds: more than a wrong time zone."""

JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def text(value: str) -> str:
    """A text for people, cut."""
    return value if len(value) <= MAX_TEXT else value[:MAX_TEXT]


def name(value: str) -> str:
    """A name that only describes, such as a host's, cut."""
    return value if len(value) <= MAX_ID else value[:MAX_ID]


def finite(value: float | None) -> float | None:
    """A number, or None for one that JSON does not have (NaN and the infinities)."""
    return value if value is None or math.isfinite(value) else None


def labels(given: Mapping[str, str]) -> dict[str, str]:
    """The first labels, as many as fit; the value of the last one may be cut."""
    found: dict[str, str] = {}
    left = MAX_LABELS
    for key, value in given.items():
        if len(key) >= left:
            break
        found[key] = value[: left - len(key)]
        left -= len(key) + len(found[key])
    return found
