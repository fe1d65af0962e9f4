"""Transactions without a broker, for the parts of a worker that write."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import cast

from millstream.consumers.kafka.topic_access import TopicAccess, Unusable
from millstream.consumers.kafka.transaction import TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch, TransactionThread


class ScriptedTransactions:
    """A transaction thread that writes at once.

    The first `aborts` transactions fail, and so does each for which `refuses` returns an error; `written` are the
    others. `attempted`: how many records each transaction had, written or not. `renewed`: how many producers were
    opened after the first.
    """

    def __init__(self, aborts: int = 0) -> None:
        self.aborts = aborts
        self.refuses: Callable[[TransactionBatch], Exception | None] = lambda batch: None
        self.opens_after = 0
        """How many times `opening` is True."""
        self.hangs = False
        """Whether a batch stays under way."""
        self.renewed = 0
        self.attempted: list[int] = []
        self.batch: TransactionBatch | None = None
        self.written: list[TransactionBatch] = []

    def opening(self) -> bool:
        self.opens_after -= 1
        return self.opens_after >= 0

    def renew(self) -> None:
        self.renewed += 1
        self.batch = None

    @property
    def done(self) -> bool:
        return self.batch is not None and not self.hangs

    def begin(self, batch: TransactionBatch) -> None:
        assert self.batch is None
        self.batch = batch
        self.attempted.append(len(batch.records))

    def finish(self) -> None:
        batch, self.batch = self.batch, None
        if batch is None:
            return
        if self.aborts:
            self.aborts -= 1
            raise TransactionAborted("the coordinator moved")
        if error := self.refuses(batch):
            raise error
        self.written.append(batch)

    def stop(self) -> None:
        return

    def as_thread(self) -> TransactionThread:
        """Itself, as what a batch writer takes."""
        return cast(TransactionThread, self)


class ScriptedAccess:
    """Answers about topics at once: `unwritable` cannot be written, and while `away` no broker answers."""

    def __init__(self) -> None:
        self.unwritable: dict[str, str] = {}
        self.away = False

    def ask(self, topics: Iterable[str]) -> "Future[Unusable]":
        answer: Future[Unusable] = Future()
        asked = set(topics)
        found = {topic: cause for topic, cause in self.unwritable.items() if topic in asked}
        answer.set_result(None if self.away else found)
        return answer

    def as_access(self) -> TopicAccess:
        """Itself, as what a commit loop takes."""
        return cast(TopicAccess, self)
