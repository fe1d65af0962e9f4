"""How far the tracker is behind `jobs.events`. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class ReadPosition(NamedTuple):
    """What a client knows of a partition that it reads. `fetched`: the offset that it asks for next; `end`: the first
    one that is not committed yet; `last`: the last record that it has fetched, None before the first; `committed`: the
    offset that the group goes on at."""

    fetched: int
    end: int
    last: int | None
    committed: int | None


class Behind(NamedTuple):
    """`records`: offsets between what is applied and the end, the markers of transactions among them. `seconds`: since
    the last applied event of the partition that is furthest behind was written, or since the tracker was level with it
    if that was later. Both are 0 when every event is applied."""

    records: int
    seconds: float


class Lag:
    """What is applied of each partition. One event loop owns it. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._applied: dict[int, tuple[int, float]] = {}
        self._level_at: dict[int, float] = {}

    def applied(self, messages: Iterable[Any]) -> None:
        """Note records whose changes are written."""
        for message in messages:
            self._applied[message.partition] = (message.offset + 1, message.timestamp)

    def measure(self, positions: Mapping[int, ReadPosition | None], now: float) -> Behind | None:
        """How far behind the tracker is in these partitions, which it owns; None while one of them is not known."""
        records, seconds, known = 0, 0.0, True
        for partition, position in positions.items():
            if position is None:
                known = False
                continue
            following, written_at = self._applied.get(partition, (position.committed or 0, None))
            # A last record beyond the end is of a topic that was deleted and made again.
            all_applied = position.last is None or position.last < following or position.last >= position.end
            if position.fetched >= position.end and all_applied:
                # What lies between is no event: markers, and events of transactions that were aborted.
                self._level_at[partition] = now
                continue
            records += max(1, position.end - following)
            since = max(written_at or 0.0, self._level_at.get(partition, 0.0))
            seconds = max(seconds, now - since if since else 0.0)
        return Behind(records, round(seconds, 1)) if known else None
