"""Takes events off a Faust stream in batches.

Faust's own `take_events` passes each event through its stream one by one, with a turn of the event loop for each. Here
a batch is taken from the stream's queue at once. What Faust does for each event is done as well: an event of before a
rebalance is left to its next owner, and one that is taken counts as being processed until it is acknowledged.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import faust


def waiting_bytes(stream: Any) -> int:
    """The bytes of the records in the stream's queue. May be called by any thread."""
    # One step of the interpreter, during which no other thread changes the queue.
    waiting = list(stream.channel.queue._queue)
    return sum(len(event.message.value or b"") for event in waiting)


async def batches(app: faust.App, stream: Any, most: int, within_s: float) -> AsyncIterator[list[Any]]:
    """The stream's records, at most so many at a time; a batch that is not full at once waits `within_s` seconds for
    others. Those of a batch are acknowledged when the next one is asked for, but for what was removed from the list: it
    is read again after a restart or a rebalance, if nothing behind it in its partition is acknowledged either."""
    channel = aiter(stream.channel)
    queue = channel.queue
    while True:
        try:
            taken = await _take(queue, most, within_s)
        except StopAsyncIteration:
            # Faust throws it into the queue of a stream that it stops.
            return
        current = [event.message for event in taken if _is_current(app, event.message)]
        consumer = cast(Any, app.consumer)
        for message in current:
            message.tracked = True
            consumer._unacked_messages.add(message)
        if current:
            taken_in = list(current)
            yield current
            for message in current:
                message.ack(consumer)
            consumer._unacked_messages.difference_update(taken_in)


async def _take(queue: Any, most: int, within_s: float) -> list[Any]:
    taken = [await queue.get()]
    if queue.qsize() < most - 1:
        await asyncio.sleep(within_s)
    while len(taken) < most and not queue.empty():
        taken.append(queue.get_nowait())
    return taken


def _is_current(app: faust.App, message: Any) -> bool:
    """Whether the record was read since the last rebalance."""
    return app.flow_control.is_active() and message.generation_id == app.consumer_generation_id
