"""Which partitions have a batch inserted next. Pure: no Kafka, no ClickHouse, no clock."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from millstream.consumers.sink.batch import Batch, Limits, PartitionBuffer


class Waiting(Protocol):
    """A partition of which nothing is being inserted; `batch` is one that was cut before, and not begun."""

    buffer: PartitionBuffer
    batch: Batch | None

    @property
    def memory(self) -> int:
        """Bytes that wait."""


W = TypeVar("W", bound=Waiting)


def order_inserts(
    waiting: Iterable[W], busy: int, writers: int, limits: Limits, patience: float, now: float
) -> list[tuple[W, Batch]]:
    """Cut batches until every writer has one to insert and one to follow; returns the partitions with their batches.

    Those come first whose records have waited longer than `patience` (seconds), the longest first; then those where
    most waits. `busy` inserts are under way or queued already.
    """
    # What would only wait for a writer may as well grow meanwhile: an insert costs about as much as 20,000 rows.
    only_full = replace(limits, seconds=math.inf)

    def urgency(partition: W) -> tuple[float, int]:
        if partition.batch is not None:
            return math.inf, 0
        age = partition.buffer.age(now)
        return age if age >= patience else 0.0, partition.memory

    ready: list[tuple[W, Batch]] = []
    for partition in sorted(waiting, key=urgency, reverse=True):
        given = busy + len(ready)
        if given >= 2 * writers:
            break
        if partition.batch is None:
            late = partition.buffer.age(now) >= patience
            partition.batch = partition.buffer.cut(limits if late or given < writers else only_full, now)
        if partition.batch is not None:
            ready.append((partition, partition.batch))
    return ready
