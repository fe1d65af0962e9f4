"""Which jobs run in this process, kept where the process's death cannot reach it.

A handler that ends the whole process (`os._exit`, a crash in native code) would be delivered again and end the next
one, for ever. The ids of what runs are kept in a small file mapped into memory, each with how many processes of this
name have died while it ran. A process may die of many things, and then all that ran in it begins anew as before; but a
job that ran at two deaths in a row is suspect, and runs in a process of its own, where another crash is the job's
failure and nothing else.
"""

import mmap
import os
import re
from pathlib import Path

ID = 36
SLOT = ID + 1
"""Bytes of a job id and of a count."""

SUSPECT_AFTER = 2
"""Deaths in a row."""

_EMPTY = bytes(SLOT)


class CrashJournal:
    """The ids of at most `size` running jobs. Written by one thread. What does not fit is not noted."""

    def __init__(self, path: Path, size: int) -> None:
        """Raises OSError when the file cannot be made."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._deaths = _read(os.pread(self._file, 1 << 20, 0))
        self.suspects = {job_id.decode() for job_id, deaths in self._deaths.items() if deaths >= SUSPECT_AFTER}
        """Jobs that ran when the last processes of this name died."""
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, size * SLOT)
        self._memory = mmap.mmap(self._file, size * SLOT)
        self._size = size
        self._free = list(range(size))
        self._frozen = False
        self._slots: dict[str, int] = {}
        """By execution: a job that is redelivered may run twice at once."""

    def begin(self, job_id: bytes, execution_id: str) -> None:
        if self._free:
            slot = self._slots[execution_id] = self._free.pop()
            deaths = self._deaths.get(job_id, 0) if self._deaths else 0
            self._memory[slot * SLOT : (slot + 1) * SLOT] = job_id + bytes((deaths,))

    def end(self, execution_id: str) -> None:
        slot = self._slots.pop(execution_id, None)
        if slot is not None:
            self._memory[slot * SLOT : (slot + 1) * SLOT] = _EMPTY
            self._free.append(slot)

    def clear(self) -> None:
        """Nothing runs any more."""
        if self._frozen:
            return
        self._memory[:] = bytes(len(self._memory))
        self._free = list(range(self._size))
        self._slots.clear()

    def freeze(self, guilty: str | None) -> None:
        """The process ends because of what runs: of this execution, or, when it is not known, of any. The next process
        shall know, so nothing is changed from here on."""
        if guilty in self._slots:
            for execution_id in [each for each in self._slots if each != guilty]:
                self.end(execution_id)
        self._frozen = True
        self._slots.clear()
        self._free.clear()

    def close(self) -> None:
        """The process ends because it was asked to."""
        self.clear()
        self._memory.close()
        os.close(self._file)


def _read(data: bytes) -> dict[bytes, int]:
    """Of each job that ran at the last death, how many deaths in a row it has seen."""
    slots = (data[at : at + SLOT] for at in range(0, len(data), SLOT))
    return {slot[:ID]: min(slot[ID] + 1, 255) for slot in slots if re.fullmatch(rb"[0-9a-f-]{36}.", slot, re.DOTALL)}
