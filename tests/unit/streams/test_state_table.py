"""Changes of the table are written as few batches, in order, and count as written when Kafka has every one of them."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from millstream.streams.state_table import StateTable

ROOM = 3
"""Records that a batch of the producer below takes."""


class Batch:
    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    def append(self, *, key: bytes, value: bytes | None, timestamp: None) -> object:
        if len(self.records) == ROOM:
            return None
        self.records.append((key, value))
        return object()


class Producer:
    """The client of Faust's producer. A batch is acknowledged when `acknowledge` is set, or fails with `error`."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[tuple[bytes, bytes | None]]]] = []
        self.acknowledge = asyncio.Event()
        self.error: Exception | None = None

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Any:
        self.sent.append((partition, batch.records))
        await asyncio.sleep(0)
        return asyncio.ensure_future(self._answer())

    async def _answer(self) -> None:
        await self.acknowledge.wait()
        if self.error is not None:
            raise self.error


def table_of(producer: Producer) -> StateTable:
    table = cast(Any, StateTable.__new__(StateTable))
    table._writing = asyncio.Lock()
    table.app = SimpleNamespace(producer=SimpleNamespace(_ensure_producer=lambda: producer))
    table._changelog_topic = SimpleNamespace(get_topic_name=lambda: "states")
    return cast(StateTable, table)


async def test_the_changes_of_a_partition_keep_their_order_and_fill_batches() -> None:
    producer = Producer()
    producer.acknowledge.set()
    changes = [(number % 2, b"%d" % number, b"v" if number % 3 else None) for number in range(10)]
    await table_of(producer).write_changes(changes)
    for partition in (0, 1):
        written = [record for number, records in producer.sent if number == partition for record in records]
        assert written == [(key, value) for number, key, value in changes if number == partition]
    assert max(len(records) for _, records in producer.sent) == ROOM and len(producer.sent) == 4
    await table_of(producer).write_changes([])
    assert len(producer.sent) == 4


async def test_changes_are_written_when_every_batch_is_acknowledged_and_later_ones_come_behind() -> None:
    producer = Producer()
    table = table_of(producer)
    first = asyncio.create_task(table.write_changes([(0, b"a", b"1")]))
    second = asyncio.create_task(table.write_changes([(0, b"a", None)]))
    await asyncio.sleep(0.01)
    assert not first.done() and not second.done()
    producer.acknowledge.set()
    await asyncio.gather(first, second)
    assert [records for _, records in producer.sent] == [[(b"a", b"1")], [(b"a", None)]]


async def test_what_kafka_refuses_is_raised() -> None:
    producer = Producer()
    producer.error = RuntimeError("too large")
    producer.acknowledge.set()
    with pytest.raises(RuntimeError, match="too large"):
        await table_of(producer).write_changes([(0, b"a", b"1"), (1, b"b", b"2")])
