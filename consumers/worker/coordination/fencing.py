"""Ends the open transaction of a worker that sends no heartbeats any more.

A worker that was killed inside a transaction holds back every `read_committed` reader and its own pending offsets until
the transaction times out. `init_transactions` with its transactional id aborts it at once, and fences the worker should
it still be alive.
"""

import threading
import time

import structlog
from confluent_kafka import KafkaException, Producer

from millstream.consumers.worker.coordination.failure_detector import FailureDetector
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.schemas import Codec, Heartbeat, KafkaConnection

log = structlog.get_logger(__name__)

FENCE_WITHIN_S = 10.0


class Fencing:
    """Watches the heartbeats of the other workers. Used by one thread."""

    def __init__(
        self, connection: KafkaConnection, codec: Codec, worker_id: str, heartbeat_misses: int, metrics: WorkerMetrics
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._metrics = metrics
        self._detector = FailureDetector(worker_id, heartbeat_misses)

    def receive(self, value: bytes | None) -> None:
        """Take a record of `jobs.heartbeats`, and fence the workers that are overdue by now. Returns at once.

        Raises `DecodeError` and `RegistryUnavailable`; nothing has changed then.
        """
        heartbeat = self._codec.decode(value, Heartbeat)
        for worker_id, transactional_id in self._detector.receive(heartbeat, time.monotonic()):
            self._metrics.fenced += 1
            log.warning("worker_fenced", failed_worker_id=worker_id, transactional_id=transactional_id)
            # On a thread of its own: the transaction coordinator may take its time.
            threading.Thread(
                target=self._fence, args=(worker_id, transactional_id), name="millstream-fence", daemon=True
            ).start()

    def _fence(self, worker_id: str, transactional_id: str) -> None:
        producer = Producer(self._connection.producer(transactional_id=transactional_id))
        try:
            producer.init_transactions(FENCE_WITHIN_S)
        except KafkaException as error:
            log.warning("fencing_failed", failed_worker_id=worker_id, reason=error.args[0].str())
