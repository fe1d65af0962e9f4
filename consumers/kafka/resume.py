"""Where to start reading a partition, given its group's commit and what its log holds. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from millstream.consumers.kafka.offset_ledger import METADATA_LIMIT, Checkpoint, OffsetLedger
from millstream.consumers.kafka.positions import Position
from millstream.consumers.kafka.running_elsewhere import ANNOUNCED


class Surprise(StrEnum):
    """Why a partition does not simply go on at its commit."""

    NO_COMMIT = "the group has no commit for a partition that holds records"
    DELETED = "records behind the commit were deleted before they were read"
    SHORTER = "the log ends before the commit: it was truncated, restored, or made again"
    MADE_AGAIN = "the topic was deleted and made again"


@dataclass(frozen=True, slots=True)
class Start:
    """Where to read from, and the ledger to read with. `missing`: how many offsets that are not known to be finished
    can no longer be read."""

    offset: int
    ledger: OffsetLedger
    surprise: Surprise | None = None
    missing: int = 0


def start_of(position: Position, metadata_limit: int = METADATA_LIMIT, *, made_again: bool = False) -> Start:
    """Where reading starts. `made_again`: the log is known to be another one than before.

    A commit that does not fit the log is of another log: then everything that the log holds is read, because a job that
    runs twice is better than one that is lost.
    """
    committed = position.committed
    if position.log is None:
        assert committed is not None
        return start_at(committed, position, metadata_limit, position.metadata)
    low, high = position.log
    surprise, missing = None, 0
    if made_again:
        surprise = Surprise.MADE_AGAIN
    elif committed is None:
        surprise = Surprise.NO_COMMIT if high > low else None
    elif committed > high:
        surprise, missing = Surprise.SHORTER, committed - high
    else:
        start = start_at(committed, position, metadata_limit, position.metadata)
        if start.ledger.next_after_resume <= high:
            deleted = committed < low
            return Start(low, start.ledger, Surprise.DELETED, start.ledger.skip(low)) if deleted else start
        surprise = Surprise.SHORTER
    start = start_at(low, position, metadata_limit)
    return Start(low, start.ledger, surprise, missing)


def start_at(offset: int, position: Position, metadata_limit: int = METADATA_LIMIT, metadata: str = "") -> Start:
    """A start at an offset, as if everything below it were finished, and above it what `metadata` says."""
    place = f"{position.cluster_id}/{position.topic}/{position.partition}"
    return Start(offset, OffsetLedger(Checkpoint(offset, metadata.removeprefix(ANNOUNCED)), metadata_limit, place))
