"""Where a sink reads a partition from, given its group's commit and what its log holds. Pure."""

from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING

from millstream.consumers.kafka.resume import Surprise
from millstream.consumers.sink.batch import PartitionBuffer
from millstream.consumers.sink.intent import Intent


@dataclass(frozen=True, slots=True)
class SinkStart:
    """Read from `offset` on into `buffer`. `missing`: how many offsets can no longer be read, or were read and are not
    inserted because their log is gone."""

    offset: int
    buffer: PartitionBuffer
    surprise: Surprise | None = None
    missing: int = 0


def first_start(committed: int | None, intent: Intent | None, log: tuple[int, int] | None) -> SinkStart:
    """Where a partition starts that was just assigned. `log`: its first offset and the one after its last; None where
    that is not known, then the client says so when the commit is outside of it.

    A commit or an announced range that ends after the log is of another log: then everything that the log holds is
    read, because a row that is inserted twice is better than one that is missing.
    """
    if committed is None:
        return SinkStart(OFFSET_BEGINNING, PartitionBuffer(None))
    end, cut_from = (intent.end, intent.cut_from) if intent else (None, None)
    if log is None:
        return SinkStart(committed, PartitionBuffer(committed, end, cut_from))
    low, high = log
    if max(committed, end or 0) > high:
        return SinkStart(low, PartitionBuffer(low), Surprise.SHORTER, max(0, committed - high))
    if committed >= low:
        return SinkStart(committed, PartitionBuffer(committed, end, cut_from))
    # What is left of an announced range is inserted under the range's own token.
    buffer = PartitionBuffer(committed, end, cut_from) if end is not None and end > low else PartitionBuffer(low)
    return SinkStart(low, buffer, Surprise.DELETED, low - committed)


def next_start(buffer: PartitionBuffer, log: tuple[int, int], *, made_again: bool) -> SinkStart:
    """Where a partition goes on whose log is not what the client expected. `made_again`: it is another log.

    What waits in `buffer` is kept while it is from the same log.
    """
    low, high = log
    position = buffer.next
    if made_again:
        return SinkStart(low, PartitionBuffer(low), Surprise.MADE_AGAIN, len(buffer.records))
    if position is None:
        return SinkStart(OFFSET_BEGINNING, buffer)
    if position > high:
        return SinkStart(low, PartitionBuffer(low), Surprise.SHORTER, position - high)
    if position < low:
        return SinkStart(low, buffer, Surprise.DELETED, low - position)
    return SinkStart(position, buffer)
