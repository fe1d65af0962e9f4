"""The batch that a sink is about to insert, announced in the commit of its partition.

Before a batch [start, end) is inserted, the sink commits the offset `start` with the metadata `v1 until=<end>`. The
next owner of the partition finds there the exact range that may or may not be in ClickHouse, and inserts it again under
the same token. A commit without metadata means that everything below its offset is inserted.

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

PATTERN = re.compile(r"v1 until=([0-9]{1,19})")
DIGITS_WITH_CHECKSUM = 19
"""As many as the largest offset has, and as releases without checksums accept."""

LARGEST_EPOCH = 2**31 - 1


class UnknownIntent(ValueError):
    """The commit's metadata was not written by a sink; going on could lose or double events."""


class MisplacedIntent(ValueError):
    """The commit's metadata was written by a sink for another offset, partition, topic or cluster."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The range of offsets [start, end) of one partition, to be inserted as one batch."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"[{self.start}, {self.end}) is not a range of offsets")

    def announcement(self, cluster_id: str, topic: str, partition: int) -> TopicPartition:
        """The commit that announces this range."""
        text = f"v1 until={self.end:0{DIGITS_WITH_CHECKSUM}d}"
        checksum = self._checksum(cluster_id, topic, partition)
        return TopicPartition(topic, partition, self.start, text, leader_epoch=checksum)

    def _checksum(self, cluster_id: str, topic: str, partition: int) -> int:
        place = f"{cluster_id}/{topic}/{partition}@{self.start}-{self.end}"
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
    if not 0 <= commit.offset < int(found[1]):
        raise MisplacedIntent(f"it announces a range that ends at {found[1]}, before the commit")
    intent = Intent(commit.offset, int(found[1]))
    if len(found[1]) == DIGITS_WITH_CHECKSUM:
        own = intent.announcement(cluster_id, commit.topic, commit.partition)
        if commit.leader_epoch != own.leader_epoch:
            raise MisplacedIntent("it was written for another offset, partition, topic or cluster")
    return intent
