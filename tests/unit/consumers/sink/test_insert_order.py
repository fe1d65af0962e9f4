"""Every partition has its turn, and large batches are preferred as long as no other waits too long."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from millstream.consumers.sink.batch import BatchLimits, InsertBatch, PartitionBuffer
from millstream.consumers.sink.insert_order import order_inserts
from millstream.consumers.sink.records import Records

LIMITS = BatchLimits(rows=1000, bytes=10**6, age_s=0.1, target_rows=1000)
PATIENCE = 1.0


@dataclass(eq=False)
class Partition:
    number: int
    buffer: PartitionBuffer = field(default_factory=lambda: PartitionBuffer(0))
    batch: InsertBatch | None = None
    read: int = 0

    @property
    def memory(self) -> int:
        return self.buffer.size

    def fill(self, rows: int, now: float) -> None:
        offsets = list(range(self.read, self.read + rows))
        self.read += rows
        self.buffer.add(Records(offsets, [None] * rows, [b"value"] * rows), now)


def numbers(ready: list[tuple[Partition, InsertBatch]]) -> list[int]:
    return [partition.number for partition, _ in ready]


def test_the_largest_are_inserted_first_unless_another_waits_too_long() -> None:
    few, many = Partition(0), Partition(1)
    few.fill(10, now=0.0)
    many.fill(500, now=0.0)
    assert numbers(order_inserts([few, many], 1, 2, LIMITS, PATIENCE, now=0.5)) == [1]


def test_a_batch_that_would_wait_for_a_writer_keeps_growing() -> None:
    partition = Partition(0)
    partition.fill(999, now=0.0)
    assert order_inserts([partition], 2, 2, LIMITS, PATIENCE, now=0.9) == []
    partition.fill(1, now=0.9)
    assert numbers(order_inserts([partition], 2, 2, LIMITS, PATIENCE, now=0.9)) == [0]


def test_a_batch_that_could_not_be_announced_is_tried_again_first() -> None:
    announced, other = Partition(0), Partition(1)
    announced.fill(10, now=0.0)
    announced.batch = announced.buffer.cut(LIMITS, now=5.0)
    other.fill(1000, now=0.0)
    assert numbers(order_inserts([other, announced], 0, 1, LIMITS, PATIENCE, now=5.0)) == [0, 1]


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 50))
def test_a_partition_with_few_records_is_not_starved_by_those_that_are_always_full(
    writers: int, busy_ones: int, rows: int
) -> None:
    quiet, full = Partition(0), [Partition(number) for number in range(1, busy_ones + 1)]
    partitions = [quiet, *full]
    quiet.fill(rows, now=0.0)
    inserting: list[Partition] = []
    inserts: Counter[int] = Counter()
    for moment in range(10 * (busy_ones + 2 * writers)):
        now = 0.2 * moment
        for partition in full:
            partition.fill(1500 - len(partition.buffer.records), now)
        waiting = [partition for partition in partitions if partition not in inserting]
        ready = order_inserts(waiting, len(inserting), writers, LIMITS, PATIENCE, now)
        inserting += [partition for partition, _ in ready]
        ended = inserting.pop(0)
        inserts[ended.number] += 1
        ended.batch = None
    assert inserts[0] == 1
