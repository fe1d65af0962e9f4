"""The transactional producer of a worker: its id follows from the worker's, so that a successor fences it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from millstream.consumers.kafka.transaction import CALL_S, TransactionWriter
from millstream.consumers.kafka.transaction_thread import TransactionThread
from millstream.consumers.worker.config import WorkerConfig
from millstream.schemas import KafkaConnection, TopicCatalogue

log = structlog.get_logger(__name__)

FENCE_WITHIN_S = 10.0
FENCED_TIMEOUT_MS = 5_000
MARGIN_S = 1.0
"""How much longer than its timeout, or the transaction's, a call of the client may take."""


def transactional_id(topics: TopicCatalogue, worker_id: str) -> str:
    """The id under which the transactions of a worker are written."""
    return f"{topics.prefix}worker-{worker_id}"


def open_transactions(
    connection: KafkaConnection,
    topics: TopicCatalogue,
    config: WorkerConfig,
    keep_waiting: Callable[[], bool],
    used_by: str = "",
) -> TransactionThread:
    """Start to open the transactional producer of the worker `config.worker_id`, or another one of it under the id
    `used_by`; returns at once.

    The coordinator takes a moment to abort what a dead predecessor left open, about half a second with librdkafka's
    fixed delay between two requests. `keep_waiting`: called every few seconds on another thread; when it returns False
    the producer is not opened.
    """
    name = used_by or transactional_id(topics, config.worker_id)
    timeout_ms = config.transaction_timeout_ms
    thread = TransactionThread(
        lambda: TransactionWriter(connection, name, timeout_ms), max(CALL_S, timeout_ms / 1000) + MARGIN_S
    )
    thread.open(topics.events, keep_waiting)
    return thread


def fence(connection: KafkaConnection, topics: TopicCatalogue, fenced_id: str) -> Future[None]:
    """End the right of the producer with a transactional id to write; returns at once. The result is there when it can
    commit nothing any more, and an exception when that could not be reached within `FENCE_WITHIN_S` seconds."""
    result: Future[None] = Future()

    def run() -> None:
        deadline = time.monotonic() + FENCE_WITHIN_S
        try:
            writer = TransactionWriter(connection, fenced_id, FENCED_TIMEOUT_MS)
            if not writer.open(topics.events, lambda: time.monotonic() < deadline):
                raise TimeoutError(f"{fenced_id} could not be fenced within {FENCE_WITHIN_S:g} s")
        except Exception as error:
            log.warning("fencing_failed", transactional_id=fenced_id, reason=str(error))
            result.set_exception(error)
        else:
            log.warning("transactional_id_fenced", transactional_id=fenced_id)
            result.set_result(None)

    threading.Thread(target=run, name="millstream-fence", daemon=True).start()
    return result
