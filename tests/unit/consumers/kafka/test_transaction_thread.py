"""Writing in the background: one batch at a time, and none for ever."""

import threading
from collections.abc import Sequence
from typing import cast

import pytest

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.transaction import Commit, TransactionAborted, TransactionWriter, WriterBroken
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread

BATCH = TransactionBatch([OutgoingRecord("events", None, b"outcome")], [])


class Scripted:
    """A writer that does what it is told: returns, raises, or waits for `let_go`."""

    def __init__(self, raises: Exception | None = None, hangs: bool = False) -> None:
        self.let_go = threading.Event()
        self.written: list[Sequence[OutgoingRecord]] = []
        self._raises = raises
        self._hangs = hangs

    def write(self, records: Sequence[OutgoingRecord], commits: Sequence[Commit]) -> None:
        if self._hangs:
            self.let_go.wait(10)
        if self._raises:
            raise self._raises
        self.written.append(records)


def background(writer: Scripted, limit_s: float = 10.0) -> TransactionThread:
    return TransactionThread(cast(TransactionWriter, writer), limit_s)


def test_a_batch_is_written_and_forgotten() -> None:
    writer = Scripted()
    writing = background(writer)
    writing.begin(BATCH)
    writing.finish()
    assert writer.written == [BATCH.records]
    assert writing.batch is None and not writing.settled


def test_what_the_writer_raises_is_raised_by_finish() -> None:
    writing = background(Scripted(TransactionAborted("the group changed")))
    writing.begin(BATCH)
    with pytest.raises(TransactionAborted):
        writing.finish()
    assert writing.batch is None


def test_one_batch_at_a_time() -> None:
    writer = Scripted(hangs=True)
    writing = background(writer)
    writing.begin(BATCH)
    assert not writing.settled
    with pytest.raises(RuntimeError, match="being written"):
        writing.begin(BATCH)
    writer.let_go.set()
    writing.finish()


def test_a_client_call_that_never_returns_breaks_the_writer_and_not_the_worker() -> None:
    writer = Scripted(hangs=True)
    writing = background(writer, limit_s=0.05)
    writing.begin(BATCH)
    with pytest.raises(WriterBroken, match=r"not written within 0\.05 s"):
        writing.finish()
    writer.let_go.set()
