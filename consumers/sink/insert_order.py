"""Which partitions' batches are inserted next. Pure: no Kafka, no ClickHouse, no clock."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from millstream.consumers.sink.batch import BatchLimits, InsertBatch, PartitionBuffer


class PendingPartition(Protocol):
    """A partition without an insert under way; `batch` is one that was cut before and not announced."""

    buffer: PartitionBuffer
    batch: InsertBatch | None

    @property
    def memory(self) -> int:
        """Bytes that wait."""


P = TypeVar("P", bound=PendingPartition)


def order_inserts(
    waiting: Iterable[P], busy: int, writers: int, limits: BatchLimits, patience_s: float, now: float
) -> list[tuple[P, InsertBatch]]:
    """Cut batches until every writer has one to insert and one to follow. Returns the partitions with their batches.

    Those come first whose records have waited longer than `patience_s`, the longest first; then those where
    most waits. `busy` inserts are under way or queued already.
    """
    # A batch that would only wait for a writer grows meanwhile: an insert costs about as much as 20,000 rows.
    only_full = replace(limits, age_s=math.inf)

    def urgency(partition: P) -> tuple[float, int]:
        if partition.batch is not None:
            return math.inf, 0
        age = partition.buffer.age(now)
        return age if age >= patience_s else 0.0, partition.memory

    ready: list[tuple[P, InsertBatch]] = []
    for partition in sorted(waiting, key=urgency, reverse=True):
        assigned = busy + len(ready)
        if assigned >= 2 * writers:
            break
        if partition.batch is None:
            late = partition.buffer.age(now) >= patience_s
            partition.batch = partition.buffer.cut(limits if late or assigned < writers else only_full, now)
        if partition.batch is not None:
            ready.append((partition, partition.batch))
    return ready
