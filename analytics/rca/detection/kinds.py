"""What a series counts, and the form in which it deviates."""

from enum import StrEnum


class Nature(StrEnum):
    """What a series counts, which determines its chance error."""

    COUNT = "count"
    """`values` are numbers of events: submissions, starts."""

    SHARE = "share"
    """`values` are numbers of events among `trials`: failures among attempts."""

    SIZE = "size"
    """`values` are positive sizes with a long tail, measured on `trials` events: the p95 of waits, money."""


class Kind(StrEnum):
    """The form of a deviation."""

    BURST = "burst"
    DROP = "drop"
    LEVEL = "level"
    STALL = "stall"
