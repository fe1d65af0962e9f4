"""Writes a batch while the poll thread goes on."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.transaction import Commit, TransactionWriter, WriterBroken
from millstream.consumers.threads import ThreadPool


@dataclass(frozen=True, slots=True)
class TransactionBatch:
    """What one transaction holds."""

    records: Sequence[OutgoingRecord]
    commits: Sequence[Commit]


class TransactionThread:
    """An `TransactionWriter` on a thread of its own, one batch at a time. Used by the poll thread only.

    `limit_s`: how long a batch may take. The client's calls have timeouts, but librdkafka does not keep that of
    `send_offsets_to_transaction` when the group's coordinator goes away (its issues 5456 and 5511): the call may never
    return. Past the transaction's own timeout nothing of it can be committed, so nothing is lost by giving it up.
    """

    def __init__(self, writer: TransactionWriter, limit_s: float) -> None:
        self._writer = writer
        self._limit_s = limit_s
        self._thread = ThreadPool(1, "millstream-writer")
        self._result: Future[None] | None = None
        self._began = 0.0
        self.batch: TransactionBatch | None = None

    @property
    def settled(self) -> bool:
        """Whether `finish` would not wait: the batch is written, has failed or takes too long."""
        return self._result is not None and (self._result.done() or self._left_s <= 0)

    @property
    def in_hand(self) -> int:
        """How many records are being written; they come back should the transaction be aborted."""
        return len(self.batch.records) if self.batch else 0

    def begin(self, batch: TransactionBatch) -> None:
        """Start writing; `finish` tells how it went. Raises RuntimeError while another batch is not finished."""
        if self.batch is not None:
            raise RuntimeError("a batch is being written")
        self.batch, self._result, self._began = batch, Future(), time.monotonic()
        result = self._result

        def write() -> None:
            try:
                self._writer.write(batch.records, batch.commits)
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(None)

        self._thread.submit(write)

    def finish(self) -> None:
        """Wait for the batch, if there is one, and forget it. Raises what `TransactionWriter.write` raises, and
        `WriterBroken` when it takes too long."""
        if self._result is None:
            return
        try:
            self._result.result(max(0.0, self._left_s))
        except TimeoutError as error:
            raise WriterBroken(f"a transaction was not written within {self._limit_s:g} s") from error
        finally:
            self.batch = self._result = None

    def stop(self) -> None:
        self._thread.stop()

    @property
    def _left_s(self) -> float:
        return self._began + self._limit_s - time.monotonic()
