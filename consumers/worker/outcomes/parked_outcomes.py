"""Outcomes that cannot be written now, each with all its records, kept until they can. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from millstream.consumers.kafka.outgoing import OutgoingRecord, total_size
from millstream.consumers.worker.outcomes.outgoing_batch import Place, place

MOST_PARKED = 1_000
MOST_PARKED_BYTES = 32 * 1024 * 1024
FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class _Parked:
    records: list[OutgoingRecord]
    topic: str
    retry_at: float


class ParkedOutcomes:
    """The records of offsets that were refused. Not thread-safe: the poll thread owns it.

    One that waits for a topic is released with the topic. Every other is tried again after 5, 10, 20, 40, 60, 60 ... s.
    """

    def __init__(self) -> None:
        self._parked: dict[Place, _Parked] = {}
        self._waits_s: dict[Place, float] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._parked)

    @property
    def full(self) -> bool:
        """Whether so much is parked that nothing more should be taken."""
        return len(self._parked) >= MOST_PARKED or self._bytes >= MOST_PARKED_BYTES

    @property
    def by_topic(self) -> Counter[str]:
        """How many wait for each topic; "" for those that are tried again by themselves."""
        return Counter(each.topic for each in self._parked.values())

    def park(self, here: Place, records: list[OutgoingRecord], now: float, topic: str = "") -> None:
        """Keep the records of one offset. `topic`: the one that cannot be written, where that is the cause."""
        wait_s = self._waits_s.get(here, FIRST_RETRY_S)
        if not topic:
            self._waits_s[here] = min(LONGEST_RETRY_S, 2 * wait_s)
        self._parked[here] = _Parked(records, topic, now + wait_s)
        self._bytes += total_size(records)

    def due(self, now: float) -> list[OutgoingRecord]:
        """Remove and return the records of one offset that is to be tried again; empty when there is none."""
        for parked, each in self._parked.items():
            if not each.topic and each.retry_at <= now and parked[0].writable:
                return self._remove(parked)
        return []

    def release(self, topic: str) -> list[list[OutgoingRecord]]:
        """Remove and return what waits for `topic`, by offset."""
        return [self._remove(parked) for parked, each in list(self._parked.items()) if each.topic == topic]

    def forget_written(self, records: Iterable[OutgoingRecord]) -> None:
        """These have been written, so those of them that were parked start anew if they are ever parked again."""
        if self._waits_s:
            for record in records:
                if (written := place(record)) is not None:
                    self._waits_s.pop(written, None)

    def drop_released(self) -> None:
        """Drop what belongs to partitions that are no longer held: their jobs run again elsewhere."""
        for gone in [each for each in self._parked if not each[0].held]:
            self._remove(gone)
        for gone in [each for each in self._waits_s if not each[0].held]:
            del self._waits_s[gone]

    def _remove(self, parked: Place) -> list[OutgoingRecord]:
        records = self._parked.pop(parked).records
        self._bytes -= total_size(records)
        return records
