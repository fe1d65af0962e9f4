"""Opens the transactional producer and writes transactions on a thread of its own, so that a commit delays neither a
poll nor a start, and a worker joins its groups while its predecessor is fenced."""

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.pending_offsets import PendingOffsets
from millstream.consumers.kafka.transaction import Commit, ProducerLost, TransactionWriter
from millstream.consumers.threads import ThreadPool


@dataclass(frozen=True, slots=True)
class TransactionBatch:
    """What one transaction holds."""

    records: Sequence[OutgoingRecord]
    commits: Sequence[Commit]


class TransactionThread:
    """A `TransactionWriter` on a thread of its own, one batch at a time. Called by the poll thread only.

    `limit_s`: the longest time in seconds that one call of the client may take. The calls have timeouts, but librdkafka
    does not keep that of `send_offsets_to_transaction` when the group's coordinator goes away (its issues 5456 and
    5511): the call may never return. After the transaction's own timeout nothing of it can be committed, so abandoning
    it loses nothing. `on_committed` is called after each committed transaction with its duration in seconds, on the
    thread that writes.
    """

    def __init__(self, make_writer: Callable[[], TransactionWriter], limit_s: float) -> None:
        self.on_committed: Callable[[float], None] = lambda duration_s: None
        self.pending: PendingOffsets | None = None
        """The groups whose pending offsets another producer ends."""
        self._make_writer = make_writer
        self._limit_s = limit_s
        self._writer = make_writer()
        self._thread = ThreadPool(1, "millstream-writer")
        self._result: Future[None] | None = None
        self._began = 0.0
        self._open_with: tuple[str, Callable[[], bool]] | None = None
        self._opening: Future[None] | None = None
        self.batch: TransactionBatch | None = None
        """The batch that is being written."""

    def open(self, topic: str, keep_waiting: Callable[[], bool]) -> None:
        """Start to open the writer; returns at once. The arguments are those of `TransactionWriter.open`, which calls
        `keep_waiting` on the thread that writes."""
        self._open_with = (topic, keep_waiting)
        self._began = time.monotonic()
        writer = self._writer
        self._opening = self._submit(lambda: writer.open(topic, keep_waiting))

    def renew(self) -> None:
        """Start to open another producer of the same transactional id in place of one that was lost; returns at once.
        When it is open, nothing of the lost one can be committed any more. Raises RuntimeError before `open`."""
        if self._open_with is None:
            raise RuntimeError("the producer was never opened")
        self._writer.abandon()
        self.batch = self._result = None
        lost_thread = self._thread
        self._writer, self._thread = self._make_writer(), ThreadPool(1, "millstream-writer")
        # After the call that is under way there. The lost producer and its errors are in reference cycles, and a worker
        # collects those rarely: the sockets and threads of lost producers would add up.
        lost_thread.submit(_collect)
        lost_thread.stop()
        self._began = time.monotonic()
        topic, keep_waiting = self._open_with
        writer, pending = self._writer, self.pending

        def reopen() -> None:
            if writer.open(topic, keep_waiting) and pending is not None:
                writer.end_pending(pending.commits)

        self._opening = self._submit(reopen)

    def opening(self) -> bool:
        """Whether the writer is still being opened. Raises what `TransactionWriter.open` raises, and `ProducerLost`
        when a call of the client takes too long."""
        if self._opening is None:
            return False
        if not self._opening.done():
            if self._left_s <= 0:
                self._opening = None
                raise ProducerLost(f"a call of the client did not return within {self._limit_s:g} s")
            return True
        opened, self._opening = self._opening, None
        opened.result()
        return False

    @property
    def done(self) -> bool:
        """Whether `finish` returns at once: the batch is written, has failed or has taken too long."""
        return self._result is not None and (self._result.done() or self._left_s <= 0)

    def begin(self, batch: TransactionBatch) -> None:
        """Start to write a batch; returns at once. Raises RuntimeError while another batch is not finished."""
        if self.batch is not None:
            raise RuntimeError("a batch is being written")
        self.batch, self._began = batch, time.monotonic()
        writer = self._writer

        def write() -> None:
            began = time.monotonic()
            writer.write(batch.records, batch.commits)
            self.on_committed(time.monotonic() - began)

        self._result = self._submit(write)

    def finish(self) -> None:
        """Wait for the batch, if there is one; afterwards another may begin.

        Raises what `TransactionWriter.write` raises, and `ProducerLost` when a call of the client takes too long.
        """
        if self._result is None:
            return
        try:
            while not self._result.done() and (left_s := self._left_s) > 0:
                wait([self._result], left_s)
            if not self._result.done():
                raise ProducerLost(f"a call of the client did not return within {self._limit_s:g} s")
            self._result.result()
        finally:
            self.batch = self._result = None

    def stop(self) -> None:
        """End the thread, after the batch that it is writing; what no broker answers to is given up."""
        self._writer.abandon()
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
        return max(self._began, self._writer.waiting_since) + self._limit_s - time.monotonic()


def _collect() -> None:
    gc.collect()
