"""Which jobs run in this process, kept where the process's death cannot reach it.

A handler that ends the whole process (`os._exit`, a crash in native code) would be delivered again and end the next
one, for ever. The ids of what runs are kept in a small file mapped into memory, so that the worker that comes back
under the same name knows what ran when the last one died. It runs those jobs in a process of their own, where another
crash is the job's failure and nothing else.
"""

import mmap
import os
import re
from pathlib import Path

SLOT = 36
"""Bytes of a job id."""

_EMPTY = bytes(SLOT)


class RunningJournal:
    """The ids of at most `size` running jobs. Written by one thread. What does not fit is not noted."""

    def __init__(self, path: Path, size: int) -> None:
        """Raises OSError when the file cannot be made."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.suspects = _read(os.pread(self._file, 1 << 20, 0))
        """Jobs that ran when the last process of this name died."""
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, size * SLOT)
        self._memory = mmap.mmap(self._file, size * SLOT)
        self._size = size
        self._free = list(range(size))
        self._slots: dict[bytes, int] = {}

    def begin(self, job_id: bytes) -> None:
        if self._free:
            slot = self._slots[job_id] = self._free.pop()
            self._memory[slot * SLOT : (slot + 1) * SLOT] = job_id

    def end(self, job_id: bytes) -> None:
        slot = self._slots.pop(job_id, None)
        if slot is not None:
            self._memory[slot * SLOT : (slot + 1) * SLOT] = _EMPTY
            self._free.append(slot)

    def clear(self) -> None:
        """Nothing runs any more."""
        self._memory[:] = bytes(len(self._memory))
        self._free = list(range(self._size))
        self._slots.clear()

    def close(self) -> None:
        """The process ends because it was asked to."""
        self.clear()
        self._memory.close()
        os.close(self._file)


def _read(data: bytes) -> set[str]:
    slots = (data[at : at + SLOT] for at in range(0, len(data), SLOT))
    return {slot.decode() for slot in slots if re.fullmatch(rb"[0-9a-f-]{36}", slot)}
