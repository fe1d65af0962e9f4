"""Writing on a thread of its own: one batch at a time, and none for ever."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from millstream.consumers.kafka.outgoing import OutgoingRecord
from millstream.consumers.kafka.transaction import Commit, ProducerLost, TransactionAborted, TransactionWriter
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread
from tests.support.waiting import until

BATCH = TransactionBatch([OutgoingRecord("events", None, b"outcome")], [])


class Scripted:
    """A writer that returns, raises, or blocks until `unblock` is set."""

    def __init__(self, raises: Exception | None = None, hangs: bool = False) -> None:
        self.unblock = threading.Event()
        self.waiting_since = 0.0
        self.abandoned = False
        self.written: list[Sequence[OutgoingRecord]] = []
        self._raises = raises
        self._hangs = hangs

    def abandon(self) -> None:
        self.abandoned = True

    def open(self, topic: str, keep_waiting: Callable[[], bool]) -> bool:
        if self._hangs:
            self.unblock.wait(10)
        if self._raises:
            raise self._raises
        return keep_waiting()

    def write(self, records: Sequence[OutgoingRecord], commits: Sequence[Commit]) -> None:
        if self._hangs:
            self.unblock.wait(10)
        if self._raises:
            raise self._raises
        self.written.append(records)


def writing_thread(*writers: Scripted, limit_s: float = 10.0) -> TransactionThread:
    """A thread that has the first writer, and the others one after the other when it is renewed."""
    made = iter(writers)
    return TransactionThread(lambda: cast(TransactionWriter, next(made)), limit_s)


def test_a_batch_is_written_and_the_next_may_begin() -> None:
    writer = Scripted()
    writing = writing_thread(writer)
    writing.begin(BATCH)
    writing.finish()
    assert writer.written == [BATCH.records]
    assert writing.batch is None and not writing.done


def test_what_the_writer_raises_is_raised_by_finish() -> None:
    writing = writing_thread(Scripted(TransactionAborted("the group changed")))
    writing.begin(BATCH)
    with pytest.raises(TransactionAborted):
        writing.finish()
    assert writing.batch is None


def test_opening_returns_at_once_and_is_over_when_the_writer_is_open() -> None:
    writer = Scripted(hangs=True)
    writing = writing_thread(writer)
    assert not writing.opening(), "not asked for"
    writing.open("events", lambda: True)
    assert writing.opening()
    writer.unblock.set()
    until(lambda: not writing.opening())
    writing.begin(BATCH)
    writing.finish()
    assert writer.written == [BATCH.records]


def test_a_producer_that_cannot_be_opened_is_raised_once() -> None:
    writing = writing_thread(Scripted(ProducerLost("fenced")))

    def lost() -> bool:
        try:
            return not writing.opening()
        except ProducerLost:
            return True

    writing.open("events", lambda: True)
    until(lost)
    assert not writing.opening()


def test_one_batch_at_a_time() -> None:
    writer = Scripted(hangs=True)
    writing = writing_thread(writer)
    writing.begin(BATCH)
    assert not writing.done
    with pytest.raises(RuntimeError, match="being written"):
        writing.begin(BATCH)
    writer.unblock.set()
    writing.finish()


def test_a_client_call_that_never_returns_loses_the_producer_and_does_not_block_the_worker() -> None:
    writer = Scripted(hangs=True)
    writing = writing_thread(writer, limit_s=0.05)
    writing.begin(BATCH)
    with pytest.raises(ProducerLost, match=r"did not return within 0\.05 s"):
        writing.finish()
    writer.unblock.set()


def test_a_call_that_is_repeated_while_no_broker_answers_is_not_given_up() -> None:
    writer = Scripted(hangs=True)
    writing = writing_thread(writer, limit_s=0.2)
    writing.begin(BATCH)
    for _ in range(6):
        time.sleep(0.05)
        writer.waiting_since = time.monotonic()
        assert not writing.done
    writer.unblock.set()
    writing.finish()
    assert writer.written == [BATCH.records]


def test_a_renewed_thread_writes_with_another_producer_while_the_lost_one_hangs() -> None:
    lost, other = Scripted(hangs=True), Scripted()
    writing = writing_thread(lost, other, limit_s=0.05)
    lost.unblock.set()
    writing.open("events", lambda: True)
    until(lambda: not writing.opening())
    lost.unblock.clear()
    writing.begin(BATCH)
    with pytest.raises(ProducerLost):
        writing.finish()
    writing.renew()
    until(lambda: not writing.opening())
    writing.begin(BATCH)
    writing.finish()
    assert (other.written, lost.written, lost.abandoned) == ([BATCH.records], [], True)
    lost.unblock.set()


def test_how_long_a_committed_transaction_took_is_reported() -> None:
    writing = writing_thread(Scripted())
    took: list[float] = []
    writing.on_committed = took.append
    writing.begin(BATCH)
    writing.finish()
    assert len(took) == 1 and took[0] >= 0
