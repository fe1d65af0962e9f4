"""Writes a batch while the poll thread goes on."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from millstream.consumers.worker.narrator import OutgoingRecord
from millstream.consumers.worker.thread_pool import ThreadPool
from millstream.consumers.worker.transaction import OutcomeWriter


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction holds. `group`: the consumer group's metadata when the offsets were taken."""

    records: Sequence[OutgoingRecord]
    offsets: Sequence[TopicPartition]
    group: Any


class BackgroundWriter:
    """An `OutcomeWriter` on a thread of its own, one batch at a time. Used by the poll thread only."""

    def __init__(self, writer: OutcomeWriter) -> None:
        self._writer = writer
        self._thread = ThreadPool(1, "millstream-writer")
        self._result: Future[None] | None = None
        self.batch: Batch | None = None

    @property
    def busy(self) -> bool:
        """Whether a batch is being written."""
        return self._result is not None and not self._result.done()

    def begin(self, batch: Batch) -> None:
        """Start writing; `finish` tells how it went. Raises RuntimeError while another batch is not finished."""
        if self.batch is not None:
            raise RuntimeError("a batch is being written")
        self.batch, self._result = batch, Future()
        result = self._result

        def write() -> None:
            try:
                self._writer.write(batch.records, list(batch.offsets), batch.group)
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(None)

        self._thread.submit(write)

    def finish(self, timeout_s: float | None = None) -> None:
        """Wait for the batch, if there is one, and forget it. Raises what `OutcomeWriter.write` raises, and
        TimeoutError when it takes longer; then the batch is still being written."""
        if self._result is not None:
            try:
                self._result.result(timeout_s)
            finally:
                if self._result.done():
                    self.batch = self._result = None

    def stop(self) -> None:
        self._thread.stop()
