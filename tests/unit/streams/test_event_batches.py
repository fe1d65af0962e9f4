"""Events are taken in batches; what is from before a rebalance is left, and nothing is acknowledged too early."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from millstream.streams.event_batches import batches, waiting_bytes


@dataclass(eq=False)
class Message:
    """A record of Faust that notes when it is acknowledged."""

    offset: int
    generation_id: int = 1
    value: bytes | None = b"12345"
    tracked: bool = False
    acked: bool = False

    def ack(self, consumer: Any) -> None:
        assert self in consumer._unacked_messages
        consumer._unacked_messages.discard(self)
        self.acked = True


class Channel:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def __aiter__(self) -> "Channel":
        return self

    async def __anext__(self) -> Any:
        return await self.queue.get()

    def put(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.queue.put_nowait(SimpleNamespace(message=message))


def app() -> Any:
    return SimpleNamespace(
        consumer=SimpleNamespace(_unacked_messages=set()),
        flow_control=SimpleNamespace(is_active=lambda: True),
        consumer_generation_id=1,
    )


async def test_a_batch_is_acknowledged_when_the_next_one_is_asked_for_and_not_before() -> None:
    channel, subject = Channel(), app()
    messages = [Message(offset) for offset in range(5)]
    channel.put(messages)
    taking = batches(subject, SimpleNamespace(channel=channel), 3, 0.001)
    assert await anext(taking) == messages[:3]
    assert subject.consumer._unacked_messages == set(messages[:3]), "they count as being processed"
    assert not any(each.acked for each in messages)
    assert await anext(taking) == messages[3:]
    assert [each.acked for each in messages] == [True] * 3 + [False] * 2
    await cast(Any, taking).aclose()
    assert not messages[4].acked, "a batch that was not finished is read again"


async def test_what_was_read_before_a_rebalance_is_left_to_the_next_owner() -> None:
    channel, subject = Channel(), app()
    old, new = Message(1, generation_id=0), Message(2)
    channel.put([old, new])
    taking = batches(subject, SimpleNamespace(channel=channel), 10, 0.001)
    assert await anext(taking) == [new]
    assert not old.acked and old not in subject.consumer._unacked_messages


async def test_a_batch_that_is_not_full_waits_a_moment_for_more() -> None:
    channel, subject = Channel(), app()
    taking = batches(subject, SimpleNamespace(channel=channel), 10, 0.05)
    first = asyncio.ensure_future(anext(taking))
    channel.put([Message(1)])
    await asyncio.sleep(0.001)
    channel.put([Message(2)])
    assert [each.offset for each in await first] == [1, 2]


async def test_the_bytes_that_wait_are_those_of_the_records_in_the_queue() -> None:
    channel = Channel()
    channel.put([Message(1), Message(2, value=None), Message(3, value=b"1")])
    assert waiting_bytes(SimpleNamespace(channel=channel)) == 6


async def test_what_is_removed_from_a_batch_is_not_acknowledged_and_nothing_waits_for_it() -> None:
    channel, subject = Channel(), app()
    done, held, later = (Message(offset) for offset in range(3))
    channel.put([done, held])
    taking = batches(subject, SimpleNamespace(channel=channel), 10, 0.001)
    batch = await anext(taking)
    batch.remove(held)
    channel.put([later])
    await anext(taking)
    assert (done.acked, held.acked) == (True, False)
    assert subject.consumer._unacked_messages == {later}, "a stop or a rebalance would wait for ever"


async def test_a_stream_that_is_stopped_ends_without_an_error_and_acknowledges_nothing_that_waits() -> None:
    channel, subject = Channel(), app()
    channel.queue = cast(Any, Stopped())
    assert [batch async for batch in batches(subject, SimpleNamespace(channel=channel), 10, 0.001)] == []
    assert subject.consumer._unacked_messages == set()


class Stopped:
    """The queue of a stream that Faust stops."""

    async def get(self) -> Any:
        raise StopAsyncIteration
