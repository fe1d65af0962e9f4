"""Faust's Kafka transport, changed to read only committed records and to lose none of them.

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
"""

from typing import Any

from faust.transport.drivers import aiokafka as driver
from mode.utils.queues import FlowControlEvent


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # The driver has no setting for it; the client reads this attribute at its start.
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *args: Any, **kwargs: Any) -> Any:
        """The records of the partitions that are active now; the client will fetch the others again.

        `active_partitions` is Faust's own set, which changes during the wait. When it becomes empty, as when the table
        is recovered, the client returns records of every partition. Between its return and the seek the thread does
        nothing else, so no record can slip through.
        """
        fetched: Any = await super()._fetch_records(consumer, active_partitions, *args, **kwargs)
        wanted = set(active_partitions) if self.consumer.flow_active else set()
        for partition in fetched.keys() - wanted:
            consumer.seek(partition, fetched.pop(partition)[0].offset)
        return fetched


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Read nothing until the recovery of the table resumes the flow.

        At the first assignment of a tracker Faust lets it run, and for a moment no partition is paused.
        """
        self.stop_flow()
        await super().on_partitions_assigned(assigned, generation_id)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """No records are at the offsets from the first up to, but without, the second."""
        await super()._add_gap(tp, offset_from, offset_to - 1)


class TrackerTransport(driver.Transport):
    """Faust's transport with consumers that read only committed records and drop none."""

    Consumer = _Consumer


class FlowControl(FlowControlEvent):
    """Faust's flow control of its streams, without effect when the flow is on already."""

    def resume(self) -> None:
        """Empty the queues of records from before the flow was suspended, and resume it."""
        if not self.is_active():
            super().resume()
