"""The transactional producer of a worker: its id follows from the worker's, so that a successor fences it."""

from collections.abc import Callable

from millstream.consumers.kafka.transaction import TransactionWriter
from millstream.consumers.kafka.transaction_thread import TransactionThread
from millstream.consumers.worker.config import WorkerConfig
from millstream.schemas import KafkaConnection, TopicCatalogue

MARGIN_S = 1.0
"""How long after its own timeout a transaction is given up."""


def transactional_id(topics: TopicCatalogue, worker_id: str) -> str:
    """The id under which the transactions of a worker are written."""
    return f"{topics.prefix}worker-{worker_id}"


def open_transactions(
    connection: KafkaConnection, topics: TopicCatalogue, config: WorkerConfig, keep_waiting: Callable[[], bool]
) -> TransactionThread:
    """Start to open the transactional producer of the worker `config.worker_id`; returns at once.

    The coordinator takes a moment to abort what a dead predecessor left open, about half a second with librdkafka's
    fixed delay between two requests. `keep_waiting`: called every few seconds on another thread; when it returns False
    the producer is not opened.
    """
    writer = TransactionWriter(connection, transactional_id(topics, config.worker_id), config.transaction_timeout_ms)
    thread = TransactionThread(writer, config.transaction_timeout_ms / 1000 + MARGIN_S)
    thread.open(topics.events, keep_waiting)
    return thread
