"""Faust's Kafka transport, changed to read only committed records, to lose none of them, and to say what it skips.

Faust ties `read_committed` to its own exactly-once mode, which Millstream does not use; but workers write events in
transactions, and aborted ones must not be read.

Faust loses records around a recovery in two ways, and its next commit covers them:

- It reads in one thread and handles records in another, and drops a record there when its partition is paused by then.
  The client's position has moved past it. Faust tries to undo that by seeking to the committed offset when the table is
  recovered, but a group without commits has no such offset. So here no record leaves the reading thread that would be
  dropped.
- It resumes the flow into its streams when the recovery begins and again when it ends, and resuming empties the
  queues: what was read just before the end is discarded. So here the flow is resumed only when it is suspended.

Each transaction ends with a marker, an offset without a record. Faust counts the record after such a gap as part of the
gap, so the record counts twice once it is acknowledged, and a commit stops at the first such offset. Commits advanced
by one transaction each, and the list of acknowledged offsets grew. Worse, a record in progress counted as done when a
later one was acknowledged. So here a gap ends before the record.

For each record Faust starts two tasks, one that delivers it and one that waits for the flow to be suspended meanwhile,
which takes longer than everything else done with the record. So here the delivery is begun at once, and only one that
has to wait becomes a task.

When a partition has no leader, or its topic is gone, the client asks for the cluster's metadata again and again without
a pause, a core's worth. So here there is a pause.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast

from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faust.transport.drivers import aiokafka as driver
from mode.services import WaitResults
from mode.utils.queues import FlowControlEvent

from millstream.streams.lag import ReadPosition
from millstream.streams.log_limit import LIBRARY_LOGGER

METADATA_PAUSE_S = 0.1
"""The shortest time between two requests for the cluster's metadata."""

MAX_BUFFERED_BYTES = 64 * 1024 * 1024
"""Bytes of events that wait to be applied above which nothing more is fetched. Faust counts records, of 3 MiB each."""

BUFFER_FULL_PAUSE_S = 0.02

DENIED = (TopicAuthorizationFailedError, GroupAuthorizationFailedError)
_RESET_TEXT = "Fetch offset %s is out of range for partition %s, resetting offset"


class OffsetResets(logging.Filter):
    """Reports that a fetch was answered with "offset out of range", so that the client goes on at the first record that
    there is. The client has no other sign of it than a log line at level info, which this filter takes."""

    def __init__(self, report: Callable[[str, int, int], None]) -> None:
        """`report` gets topic, partition and the offset that does not exist; the client's thread calls it."""
        super().__init__()
        self._report = report

    def install(self) -> None:
        """See the lines of level info of the client's fetcher, and pass on only those above."""
        logger = logging.getLogger("aiokafka.consumer.fetcher")
        logger.setLevel(logging.INFO)
        logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg == _RESET_TEXT and isinstance(record.args, tuple):
            offset, where = cast(tuple[int, Any], record.args)
            self._report(where.topic, where.partition, offset)
        return record.levelno >= logging.WARNING


def pause_between_metadata_requests(client: Any) -> None:
    """Let a Kafka client ask for the cluster's metadata at most once every `METADATA_PAUSE_S` seconds."""
    update, asked_at = client._metadata_update, float("-inf")

    async def update_after_pause(*args: Any) -> Any:
        nonlocal asked_at
        await asyncio.sleep(max(0.0, asked_at + METADATA_PAUSE_S - time.monotonic()))
        asked_at = time.monotonic()
        return await update(*args)

    client._metadata_update = update_after_pause


class _Thread(driver.AIOKafkaConsumerThread):
    logger = LIBRARY_LOGGER

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_fetched: dict[Any, int] = {}
        """The offset of the last record that was fetched of each partition."""

    async def on_start(self) -> None:
        OffsetResets(cast(TrackerTransport, self.transport).on_offset_reset).install()
        await super().on_start()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer.commit = self._telling_denials(consumer.commit)
        # The driver has no setting for it; the client reads this attribute at its start.
        consumer._isolation_level = "read_committed"
        pause_between_metadata_requests(consumer._client)
        return consumer

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Log nothing: Faust takes every partition for stalled on which it has not seen a record for five minutes. The
        tracker has a stall detector of its own."""

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *args: Any, **kwargs: Any) -> Any:
        """The records of the partitions that are active now; the client will fetch the others again.

        `active_partitions` is Faust's own set, which changes during the wait. When it becomes empty, as when the table
        is recovered, the client returns records of every partition. Between its return and the seek the thread does
        nothing else, so no record can slip through.
        """
        if cast(TrackerTransport, self.transport).buffered_bytes() > MAX_BUFFERED_BYTES:
            await asyncio.sleep(BUFFER_FULL_PAUSE_S)
            return {}
        # Faust does not ask its client whether the group refuses it.
        refused = consumer._coordinator._pending_exception
        if isinstance(refused, DENIED):
            cast(TrackerTransport, self.transport).on_denied(refused)
        fetch = self._telling_denials(super()._fetch_records)
        fetched: Any = await fetch(consumer, active_partitions, *args, **kwargs)
        wanted = set(active_partitions) if self.consumer.flow_active else set()
        for partition in fetched.keys() - wanted:
            consumer.seek(partition, fetched.pop(partition)[0].offset)
        self.last_fetched.update({partition: records[-1].offset for partition, records in fetched.items() if records})
        return fetched

    def _telling_denials(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call of the client after whose refusal `on_denied` is called, before Faust takes it for a crash."""

        async def told(*args: Any, **kwargs: Any) -> Any:
            try:
                return await call(*args, **kwargs)
            except DENIED as error:
                cast(TrackerTransport, self.transport).on_denied(error)
                raise

        return told


class _Begun:
    """A coroutine that has run until it waited, as something to await."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    result = yield waits_for
                except BaseException as error:
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(result)
        except StopIteration:
            return


class TrackerConsumer(driver.Consumer):
    """Faust's consumer, with the changes that this module names."""

    logger = LIBRARY_LOGGER

    async def wait_first(self, *coroutines: Any, **options: Any) -> Any:
        """As Faust's, but what is delivered without waiting takes no task. Faust's loop over the records calls this
        with the delivery of a record and with what waits for the flow to be suspended."""
        if len(coroutines) != 2 or options or not all(map(asyncio.iscoroutine, coroutines)):
            return await super().wait_first(*coroutines, **options)
        delivery, suspension = coroutines
        try:
            waits_for = delivery.send(None)
        except StopIteration:
            suspension.close()
            return WaitResults([delivery], [None], False)
        except BaseException:
            suspension.close()
            raise
        return await super().wait_first(_Begun(delivery, waits_for), suspension)

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Read nothing until the recovery of the table resumes the flow.

        At the first assignment of a tracker Faust lets it run, and for a moment no partition is paused.
        """
        self.stop_flow()
        await super().on_partitions_assigned(assigned, generation_id)

    def known_position(self, tp: Any) -> ReadPosition | None:
        """Where the client stands in a partition; None while it does not know. The client's thread changes the numbers
        meanwhile, so they are those of about now."""
        client = self._thread._consumer
        assigned = None if client is None else client._subscription.subscription
        assignment = None if assigned is None else assigned.assignment
        state = None if assignment is None else assignment.state_value(tp)
        if state is None or state.lso is None or not state.has_valid_position:
            return None
        return ReadPosition(
            state.position, state.lso, cast(_Thread, self._thread).last_fetched.get(tp), self._committed_offset.get(tp)
        )

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """No records are at the offsets from the first up to, but without, the second."""
        if cast(TrackerTransport, self.transport).is_held(tp.partition):
            # Nothing behind it is acknowledged, so it would be kept for ever.
            return
        await super()._add_gap(tp, offset_from, offset_to - 1)


class _Producer(driver.Producer):
    logger = LIBRARY_LOGGER

    def _new_producer(self, *args: Any, **kwargs: Any) -> Any:
        producer = super()._new_producer(*args, **kwargs)
        pause_between_metadata_requests(producer.client)
        return producer


class TrackerTransport(driver.Transport):
    """Faust's transport with consumers that read only committed records and drop none. `on_offset_reset`: see
    `OffsetResets`. `on_denied`: called with the refusal of a right; the client's thread calls it. `buffered_bytes`: how
    many bytes of records wait in the queue of events; the client's thread calls it. `is_held`: whether nothing more of
    a partition of events is acknowledged."""

    on_offset_reset: Callable[[str, int, int], None]
    on_denied: Callable[[Exception], None] = staticmethod(lambda error: None)
    buffered_bytes: Callable[[], int] = staticmethod(lambda: 0)
    is_held: Callable[[int], bool] = staticmethod(lambda partition: False)
    Consumer = TrackerConsumer
    Producer = _Producer


class FlowControl(FlowControlEvent):
    """Faust's flow control of its streams, without effect when the flow is on already."""

    def resume(self) -> None:
        """Empty the queues of records from before the flow was suspended, and resume it."""
        if not self.is_active():
            super().resume()
