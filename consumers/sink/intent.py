"""The batch that a sink is about to insert, announced in the commit of its partition.

Before a batch [start, end) is inserted, the sink commits the offset `start` with the metadata `v1 until=<end>`. The
next owner of the partition finds there the exact range that may or may not be in ClickHouse, and inserts it again under
the same token. A commit without metadata means that everything below its offset is inserted.
"""

import re
from dataclasses import dataclass

PATTERN = re.compile(r"v1 until=([0-9]{1,19})")


class UnknownIntent(ValueError):
    """The commit's metadata was not written by this version of the sink; going on could lose or double events."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The range of offsets [start, end) of one partition, to be inserted as one batch."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"[{self.start}, {self.end}) is not a range of offsets")

    @property
    def metadata(self) -> str:
        return f"v1 until={self.end}"


def read_intent(offset: int, metadata: str | None) -> Intent | None:
    """The intent in a commit; None when the commit only acknowledges. Raises `UnknownIntent`."""
    if not metadata:
        return None
    found = PATTERN.fullmatch(metadata)
    if found is None or int(found[1]) <= offset or offset < 0:
        raise UnknownIntent(
            f"the commit at offset {offset} has the metadata {metadata!r}, which this release of the sink did not "
            "write; give the sink a group of its own, or reset the group to an offset, which clears the metadata"
        )
    return Intent(offset, int(found[1]))
