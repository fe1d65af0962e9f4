"""A thread that runs from entering an object to leaving it."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class BackgroundThread(ABC):
    """Runs `_run` on a thread of its own. `join_s`: how long leaving waits for its end, in seconds."""

    def __init__(self, name: str, join_s: float) -> None:
        self._stop = threading.Event()
        self._join_s = join_s
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._wake()
        self._thread.join(self._join_s)

    @abstractmethod
    def _run(self) -> None:
        """Work until `_stop` is set."""

    def _wake(self) -> None:  # noqa: B027
        """End a wait of `_run` that does not notice `_stop`."""
