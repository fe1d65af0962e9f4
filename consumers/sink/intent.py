"""The batch that a sink is about to insert, announced in the commit of its partition.

Before a batch [start, end) is inserted, the sink commits the offset `start` with the metadata `v1 until=<end>`. The
next owner of the partition finds there the exact range that may or may not be in ClickHouse, and inserts it again under
the same token. A commit without metadata means that everything below its offset is inserted.

A batch that ClickHouse refuses for its size is cut short: the sink commits `v1 until=<new end> of=<end>` at the same
offset before it inserts the part. The part has the token of the whole range, so that wherever a try of the whole
arrives after all, before or after the part, only one of the two is inserted. Releases that do not know `of` end at it.

An announcement is right at its own place and nowhere else: a tool that copies commits to another cluster copies the
metadata and translates the offset. Therefore the commit carries a checksum of cluster, topic, partition, start and end.
Releases that do not know it end at any metadata but theirs, so the checksum is not in the text: it is in the commit's
leader epoch, which those releases never read and such tools leave out. In the text, an end of 19 digits says that there
must be one. A shorter end was announced by a release without checksums, on this cluster.
"""

import re
import zlib
from dataclasses import dataclass

from confluent_kafka import TopicPartition

PATTERN = re.compile(r"v1 until=([0-9]{1,19})(?: of=([0-9]{19}))?")
DIGITS_WITH_CHECKSUM = 19
"""As many as the largest offset has, and as releases without checksums accept."""

LARGEST_EPOCH = 2**31 - 1


class UnknownIntent(ValueError):
    """The commit's metadata was not written by a sink; going on could lose or double events."""


class MisplacedIntent(ValueError):
    """The commit's metadata was written by a sink for another offset, partition, topic or cluster."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The range of offsets [start, end) of one partition, to be inserted as one batch. `cut_from`: the end of the range
    that was announced at first, if the batch was cut short since."""

    start: int
    end: int
    cut_from: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or (self.cut_from is not None and self.cut_from <= self.end):
            raise ValueError(f"[{self.start}, {self.end}) cut from {self.cut_from} is not a range of offsets")

    @property
    def first_end(self) -> int:
        """The end of the range that was announced at first, which the token names."""
        return self.end if self.cut_from is None else self.cut_from

    def cut(self, end: int) -> "Intent":
        """The same range cut short."""
        return Intent(self.start, end, self.first_end)

    def announcement(self, cluster_id: str, topic: str, partition: int) -> TopicPartition:
        """The commit that announces this range."""
        text = f"v1 until={self.end:0{DIGITS_WITH_CHECKSUM}d}"
        if self.cut_from is not None:
            text += f" of={self.cut_from:0{DIGITS_WITH_CHECKSUM}d}"
        checksum = self._checksum(cluster_id, topic, partition)
        return TopicPartition(topic, partition, self.start, text, leader_epoch=checksum)

    def _checksum(self, cluster_id: str, topic: str, partition: int) -> int:
        place = f"{cluster_id}/{topic}/{partition}@{self.start}-{self.end}"
        if self.cut_from is not None:
            place += f"-{self.cut_from}"
        return zlib.crc32(place.encode()) & LARGEST_EPOCH


def read_intent(commit: TopicPartition, cluster_id: str) -> Intent | None:
    """The range that a commit announces; None when it only acknowledges. Raises `UnknownIntent`, and `MisplacedIntent`,
    after which the commit is to be read as one without metadata."""
    if not commit.metadata:
        return None
    found = PATTERN.fullmatch(commit.metadata)
    if found is None:
        raise UnknownIntent(
            f"the commit at offset {commit.offset} has the metadata {commit.metadata!r}, which no sink wrote; "
            "give the sink a group of its own, or reset the group to an offset, which clears the metadata"
        )
    end, cut_from = int(found[1]), int(found[2]) if found[2] else None
    if not 0 <= commit.offset < end or (cut_from is not None and cut_from <= end):
        raise MisplacedIntent(f"it announces a range that ends at {found[1]}, before the commit")
    intent = Intent(commit.offset, end, cut_from)
    if len(found[1]) == DIGITS_WITH_CHECKSUM:
        own = intent.announcement(cluster_id, commit.topic, commit.partition)
        if commit.leader_epoch != own.leader_epoch:
            raise MisplacedIntent("it was written for another offset, partition, topic or cluster")
    return intent
