"""A record that Faust would drop stays with the client, which fetches it again; commits end where the work does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from millstream.schemas import Codec, KafkaConnection, TopicCatalogue
from millstream.streams import TrackerConfig, build_app, transport

STATE, EVENT, OTHER_EVENT = TP("states", 0), TP("events", 0), TP("events", 1)


class Client:
    """Stands for the Kafka client: what it holds, what happens during the wait for it, where it was sent back to."""

    def __init__(self) -> None:
        self.holds = {tp: [SimpleNamespace(offset=3), SimpleNamespace(offset=4)] for tp in (STATE, EVENT, OTHER_EVENT)}
        self.meanwhile: Callable[[], None] = lambda: None
        self.sought: dict[TP, int] = {}
        self._closed = False
        self._fetcher = self
        self._coordinator = SimpleNamespace(_pending_exception=None)
        self._subscriptions = SimpleNamespace(fetch_context=nullcontext)

    async def fetched_records(self, partitions: set[TP], **_: Any) -> dict[TP, list[Any]]:
        await asyncio.sleep(0)
        self.meanwhile()
        # An empty set means every partition, as to the real client.
        return {tp: records for tp, records in self.holds.items() if not partitions or tp in partitions}

    def seek(self, tp: TP, offset: int) -> None:
        self.sought[tp] = offset


@pytest.fixture
async def consumer() -> AsyncIterator[Any]:
    app = build_app(KafkaConnection("nowhere:9"), TopicCatalogue("t."), Codec(), TrackerConfig())
    yield app.consumer


async def fetch(consumer: Any, client: Client) -> dict[TP, list[Any]]:
    fetched: dict[TP, list[Any]] = await consumer._thread._fetch_records(client, consumer._get_active_partitions())
    return fetched


async def test_what_is_active_is_handed_over(consumer: Any) -> None:
    client = Client()
    consumer.resume_partitions({STATE, EVENT})
    assert (await fetch(consumer, client)).keys() == {STATE, EVENT}
    assert client.sought == {}


async def test_what_was_fetched_of_every_partition_because_all_were_paused_meanwhile_is_put_back(consumer: Any) -> None:
    client = Client()
    consumer.resume_partitions({STATE})
    client.meanwhile = lambda: consumer.pause_partitions({STATE})
    assert await fetch(consumer, client) == {}
    assert client.sought == {STATE: 3, EVENT: 3, OTHER_EVENT: 3}


async def test_what_was_fetched_while_a_rebalance_began_is_put_back(consumer: Any) -> None:
    client = Client()
    consumer.resume_partitions({EVENT})
    client.meanwhile = consumer.stop_flow
    assert await fetch(consumer, client) == {}
    assert client.sought == {EVENT: 3}


async def test_nothing_is_read_between_an_assignment_and_the_recovery(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows: list[bool] = []

    async def assigned(*_: Any, **__: Any) -> None:
        flows.append(consumer.flow_active)

    monkeypatch.setattr(consumer, "_on_partitions_assigned", assigned)
    assert consumer.flow_active
    await consumer.on_partitions_assigned({STATE, EVENT}, 1)
    assert flows == [False]


class Handled:
    """A record that a stream is done with."""

    acked, tp, topic = False, EVENT, EVENT.topic

    def __init__(self, offset: int) -> None:
        self.offset = offset


async def test_a_commit_reaches_the_end_of_what_is_acknowledged_whatever_markers_lie_between(consumer: Any) -> None:
    consumer.app.topics.acks_enabled_for = lambda topic: True
    for offset in range(0, 10, 2):
        if offset:
            await consumer._add_gap(EVENT, offset - 1, offset)
        consumer.ack(Handled(offset))
    assert consumer._filter_committable_offsets([EVENT]) == {EVENT: 9}
    assert consumer._acked[EVENT] == []


async def test_no_commit_passes_a_record_behind_a_marker_that_is_still_in_work(consumer: Any) -> None:
    consumer.app.topics.acks_enabled_for = lambda topic: True
    await consumer._add_gap(EVENT, 1, 2)
    for offset in (0, 3):
        consumer.ack(Handled(offset))
    assert consumer._filter_committable_offsets([EVENT]) == {EVENT: 2}


async def test_what_came_since_the_recovery_began_is_kept_when_it_ends_and_what_came_before_is_not(
    consumer: Any,
) -> None:
    flow = consumer.app.flow_control
    queue = consumer.app.FlowControlQueue(maxsize=10, clear_on_resume=True)
    queue.put_nowait("before")
    flow.resume()
    queue.put_nowait("since")
    flow.resume()
    assert [queue.get_nowait() for _ in range(queue.qsize())] == ["since"]
    queue.put_nowait("before the next")
    flow.suspend()
    flow.resume()
    assert queue.empty()


async def test_a_partition_that_had_no_event_for_a_while_is_no_error(
    consumer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    consumer._thread.time_started = -10_000.0
    consumer.verify_event_path(0.0, EVENT)
    assert caplog.records == []


async def test_metadata_that_is_asked_for_again_and_again_is_fetched_once_in_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def update(cluster: str, topics: set[str]) -> str:
        return f"{cluster} {topics}"

    client = SimpleNamespace(_metadata_update=update)
    transport.pause_between_metadata_requests(client)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert [await client._metadata_update("c", "t") for _ in range(2)] == ["c t"] * 2
    assert pauses[0] == 0.0 and 0.0 < pauses[1] <= transport.METADATA_PAUSE_S


def test_an_offset_that_is_out_of_range_is_reported_and_other_lines_of_level_info_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reported: list[tuple[str, int, int]] = []
    resets = transport.OffsetResets(lambda *reset: reported.append(reset))
    fetcher = logging.getLogger("aiokafka.consumer.fetcher")
    resets.install()
    try:
        fetcher.info(
            "Fetch offset %s is out of range for partition %s, resetting offset", 7, TopicPartition("events", 3)
        )
        fetcher.info("anything else")
        fetcher.warning("a warning")
    finally:
        fetcher.removeFilter(resets)
        fetcher.setLevel(logging.NOTSET)
    assert reported == [("events", 3, 7)]
    assert [record.message for record in caplog.records if record.name == fetcher.name] == ["a warning"]


async def test_a_record_that_is_delivered_without_waiting_takes_no_task(consumer: Any) -> None:
    delivered: list[int] = []

    async def deliver() -> None:
        delivered.append(len(asyncio.all_tasks()))

    async def suspended() -> None:
        raise AssertionError("nobody waits for it")

    tasks = len(asyncio.all_tasks())
    done = await consumer.wait_first(deliver(), suspended())
    assert delivered == [tasks] and not done.stopped


async def test_a_delivery_that_waits_goes_on_or_is_given_up_when_the_flow_is_suspended(consumer: Any) -> None:
    room, suspension, ended = asyncio.Event(), asyncio.Event(), []

    async def deliver() -> None:
        try:
            await asyncio.sleep(0)
            await room.wait()
            ended.append("delivered")
        except asyncio.CancelledError:
            ended.append("given up")
            raise

    waiting = asyncio.create_task(consumer.wait_first(deliver(), suspension.wait()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    room.set()
    await waiting
    room.clear()
    waiting = asyncio.create_task(consumer.wait_first(deliver(), suspension.wait()))
    await asyncio.sleep(0.01)
    suspension.set()
    await waiting
    await asyncio.sleep(0)
    assert ended == ["delivered", "given up"]


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_delivery_that_fails_is_not_swallowed(consumer: Any, turns: int) -> None:
    async def deliver() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise RuntimeError("no such channel")

    with pytest.raises(RuntimeError, match="no such channel"):
        await consumer.wait_first(deliver(), asyncio.Event().wait())


async def test_the_last_record_that_was_fetched_is_known_of_each_partition(consumer: Any) -> None:
    client = Client()
    consumer.resume_partitions({STATE, EVENT})
    await fetch(consumer, client)
    assert consumer._thread.last_fetched == {STATE: 4, EVENT: 4}


async def test_nothing_is_fetched_while_many_bytes_wait_to_be_applied(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    consumer.resume_partitions({EVENT})
    monkeypatch.setattr(transport, "BUFFER_FULL_PAUSE_S", 0.0)
    waiting = transport.MAX_BUFFERED_BYTES + 1
    monkeypatch.setattr(consumer._thread.transport, "buffered_bytes", lambda: waiting)
    assert await fetch(consumer, client) == {}
    waiting = transport.MAX_BUFFERED_BYTES
    assert (await fetch(consumer, client)).keys() == {EVENT}
