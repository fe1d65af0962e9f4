"""Asks Kafka what is not known yet, one question after the other, until each is answered."""

import queue
from collections.abc import Callable

import structlog

from millstream.consumers.worker.coordination.background_thread import BackgroundThread

log = structlog.get_logger(__name__)

ASK_AGAIN_S = 0.5
JOIN_S = 0.0
"""A question that blocks holds nothing up when the worker ends."""

Question = Callable[[], bool]
"""Returns whether it is answered; otherwise it is asked again."""


class OpenQuestions(BackgroundThread):
    """Asks on one thread of its own, from entering to leaving, however many questions there are. Thread-safe."""

    def __init__(self) -> None:
        super().__init__("millstream-watch", JOIN_S)
        self._arriving: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._open: dict[str, Question] = {}

    def ask(self, name: str, question: Question) -> None:
        """Ask a question, unless the one with this name is not answered yet."""
        if name not in self._open:
            self._open[name] = question
            self._arriving.put(name)

    @property
    def open(self) -> int:
        """How many questions are not answered yet."""
        return len(self._open)

    def ask_all(self) -> None:
        """Ask every open question once."""
        for name, question in list(self._open.items()):
            try:
                answered = question()
            except Exception:
                # The thread asks for the others as well.
                log.exception("question_failed", about=name)
                answered = True
            if answered:
                del self._open[name]

    def _wake(self) -> None:
        self._arriving.put(None)

    def _run(self) -> None:
        while True:
            try:
                if self._arriving.get(timeout=ASK_AGAIN_S if self._open else None) is None:
                    return
            except queue.Empty:
                pass
            if self._arriving.empty():
                self.ask_all()
