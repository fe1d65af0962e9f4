"""Counts the jobs of worker processes for the bench: how many ran, and how long some of them waited.

It writes files in the folder `BENCH_TALLY`, so that measuring costs every system the same, and little.
"""

import mmap
import os
import struct
import threading
import time
from pathlib import Path

FOLDER = "BENCH_TALLY"

_COUNT = struct.Struct("=q")
_WAIT = struct.Struct("=d")


class Tally:
    """The writer, one for each process. Thread-safe; a forked child creates its own."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._owner = 0
        self._done = 0

    def count(self, jobs: int = 1) -> None:
        with self._turn:
            self._open()
            self._done += jobs
            _COUNT.pack_into(self._counter, 0, self._done)

    def waited(self, submitted_at: float) -> None:
        """Record the wait of a job that starts now; `submitted_at` is `time.time()` just before it was submitted."""
        wait = time.time() - submitted_at
        with self._turn:
            self._open()
            self._waits.write(_WAIT.pack(wait))

    def _open(self) -> None:
        if self._owner == os.getpid():
            return
        folder = Path(os.environ[FOLDER])
        self._owner, self._done = os.getpid(), 0
        counter = folder / f"{self._owner}.new"
        counter.write_bytes(_COUNT.pack(0))
        with counter.open("r+b") as file:
            self._counter = mmap.mmap(file.fileno(), _COUNT.size)
        # The reader must never see an empty file.
        counter.rename(counter.with_suffix(".count"))
        self._waits = (folder / f"{self._owner}.waits").open("ab", buffering=0)


tally = Tally()


def jobs_done(folder: Path) -> int:
    """Jobs that ran so far, over all worker processes."""
    return sum(_COUNT.unpack(file.read_bytes())[0] for file in folder.glob("*.count"))


def waits_ms(folder: Path) -> list[float]:
    """The waits recorded so far, in milliseconds."""
    return [1000 * wait for file in folder.glob("*.waits") for (wait,) in _WAIT.iter_unpack(file.read_bytes())]
