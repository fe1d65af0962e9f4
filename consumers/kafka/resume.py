"""Where to start reading a partition, given its group's commit and what its log holds. Pure but for its log."""

from dataclasses import dataclass
from enum import StrEnum

import structlog
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.offset_ledger import METADATA_LIMIT, Checkpoint, OffsetLedger
from millstream.consumers.kafka.positions import Position
from millstream.consumers.kafka.running_elsewhere import ANNOUNCED

log = structlog.get_logger(__name__)


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


def log_out_of_range(
    place: TopicPartition,
    surprise: Surprise,
    missing: int,
    *,
    committed: int | None,
    next_offset: int | None,
    log_range: tuple[int, int] | None,
) -> None:
    """Say that a partition is read from the offset of `place`, because what was to be read next is not in its log.
    `log_range`: the first offset of the log and the one after its last."""
    first, end = log_range or (None, None)
    log.error(
        "offset_out_of_range",
        topic=place.topic,
        partition=place.partition,
        committed=committed,
        next_offset=next_offset,
        log_start=first,
        log_end=end,
        missing=missing,
        reason=surprise.value,
        action=f"reading from offset {place.offset}",
    )
