"""What to write in place of a record that the broker rejected for its size."""

import math
from collections.abc import Sequence

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.outcomes.outcome_records import OutcomeRecords
from millstream.schemas import Codec, TopicCatalogue


class Oversized:
    def __init__(self, topics: TopicCatalogue, codec: Codec, worker_id: str) -> None:
        self._records = OutcomeRecords(topics, codec, WorkerConfig(worker_id=worker_id))

    def fitting(self, records: Sequence[OutgoingRecord], too_large: Sequence[OutgoingRecord]) -> list[OutgoingRecord]:
        refused: dict[str, int] = {}
        for each in too_large:
            refused[each.topic] = min(each.size, refused.get(each.topic, each.size))
        written: list[OutgoingRecord] = []
        for each in records:
            fits = each.size < refused.get(each.topic, math.inf)
            written += [each] if fits else self._records.instead_of(each)
        return written
