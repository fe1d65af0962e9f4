"""Opens the transactional producer and writes transactions on a thread of its own, so that a commit delays neither a
poll nor a start, and a worker joins its groups while its predecessor is fenced."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.transaction import Commit, ProducerLost, TransactionWriter
from millstream.consumers.threads import ThreadPool


@dataclass(frozen=True, slots=True)
class TransactionBatch:
    """What one transaction holds."""

    records: Sequence[OutgoingRecord]
    commits: Sequence[Commit]


class TransactionThread:
    """A `TransactionWriter` on a thread of its own, one batch at a time. Called by the poll thread only.

    `limit_s`: the longest time in seconds that a batch may take. The client's calls have timeouts, but librdkafka does
    not keep that of `send_offsets_to_transaction` when the group's coordinator goes away (its issues 5456 and 5511):
    the call may never return. After the transaction's own timeout nothing of it can be committed, so abandoning it
    loses nothing.
    """

    def __init__(self, writer: TransactionWriter, limit_s: float) -> None:
        self.writer = writer
        self._limit_s = limit_s
        self._thread = ThreadPool(1, "millstream-writer")
        self._result: Future[None] | None = None
        self._began = 0.0
        self._opening: Future[None] | None = None
        self.batch: TransactionBatch | None = None
        """The batch that is being written."""

    def open(self, topic: str, keep_waiting: Callable[[], bool]) -> None:
        """Start to open the writer; returns at once. The arguments are those of `TransactionWriter.open`, which calls
        `keep_waiting` on the thread that writes."""
        self._opening = self._submit(lambda: self.writer.open(topic, keep_waiting))

    def opening(self) -> bool:
        """Whether the writer is still being opened. Raises what `TransactionWriter.open` raises."""
        if self._opening is None:
            return False
        if not self._opening.done():
            return True
        opened, self._opening = self._opening, None
        opened.result()
        return False

    @property
    def done(self) -> bool:
        """Whether `finish` returns at once: the batch is written, has failed or has taken too long."""
        return self._result is not None and (self._result.done() or self._left_s <= 0)

    @property
    def pending_records(self) -> int:
        """How many records are being written; they are written again if the transaction is aborted."""
        return len(self.batch.records) if self.batch else 0

    def begin(self, batch: TransactionBatch) -> None:
        """Start to write a batch; returns at once. Raises RuntimeError while another batch is not finished."""
        if self.batch is not None:
            raise RuntimeError("a batch is being written")
        self.batch, self._began = batch, time.monotonic()
        self._result = self._submit(lambda: self.writer.write(batch.records, batch.commits))

    def finish(self) -> None:
        """Wait for the batch, if there is one; afterwards another may begin.

        Raises what `TransactionWriter.write` raises, and `ProducerLost` when the batch takes too long.
        """
        if self._result is None:
            return
        try:
            self._result.result(max(0.0, self._left_s))
        except TimeoutError as error:
            raise ProducerLost(f"a transaction was not written within {self._limit_s:g} s") from error
        finally:
            self.batch = self._result = None

    def stop(self) -> None:
        """End the thread, after the batch that it is writing."""
        self._thread.stop()

    def _submit(self, call: Callable[[], object]) -> Future[None]:
        result: Future[None] = Future()

        def work() -> None:
            try:
                call()
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(None)

        self._thread.submit(work)
        return result

    @property
    def _left_s(self) -> float:
        return self._began + self._limit_s - time.monotonic()
