"""Faust's Kafka transport, reading only what is committed.

Faust ties `read_committed` to its own exactly-once mode, which Millstream does not use; but the events are written in
transactions by the workers, and an aborted one must not be seen.
"""

from typing import Any

from faust.transport.drivers import aiokafka as driver


class _CommittedThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # The driver has no setting for it; the client reads this attribute when it starts.
        consumer._isolation_level = "read_committed"
        return consumer


class _CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> Any:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(driver.Transport):
    """Faust's own transport with consumers that read only committed records."""

    Consumer = _CommittedConsumer
