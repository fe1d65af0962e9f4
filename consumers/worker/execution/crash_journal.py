"""Which jobs run in this process, recorded in a file that survives the process.

A job whose handler ends the whole process (`os._exit`, a crash in native code) would be redelivered and end the next
process, for ever. The ids of running jobs are kept in a small memory-mapped file, each with how many processes of this
worker id died in a row while it ran. A process may die for many reasons, and then everything that ran in it runs again
as before; but a job that ran at two deaths in a row is a poison suspect and runs in a process of its own, where another
crash is that job's failure and nothing else. "In a row" counts the processes in which the job ran: one that dies before
the job starts, because of another job, changes nothing for it. Otherwise two such jobs could take turns for ever. Nor
does one that dies while the job runs in a process of its own.

After two deaths that no job caused, as when a host restarts twice, everything that ran at both is suspect; few of many
jobs could run in the few processes at a time. So only the `MOST_SUSPECTS` likeliest are suspects: those of the most
deaths, and of these the newest. Each further death doubles how many they are, so that a job that does end its process
is among them soon: of 400 jobs, after six more deaths at most.

A job that costs its worker everything else that it ran, without ending the process, is blamed like one that did.
"""

import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path

ID = 36
SLOT = ID + 1
"""Bytes of a job id and of a count."""

RAN = 0x80
"""Bit of the count: the job ran in this process."""

SUSPECT_AFTER = 2
"""Deaths in a row."""

MOST_SUSPECTS = 8
"""After `SUSPECT_AFTER` deaths; twice as many after each further one."""

_EMPTY = bytes(SLOT)


class CrashJournal:
    """The ids of at most `size` running jobs; more are not recorded. `begin` and `end` are called by one thread."""

    def __init__(self, path: Path, size: int) -> None:
        """Raises OSError when the file cannot be made."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._deaths = _read(os.pread(self._file, 1 << 20, 0))
        """Of each job that ran when a process died and has not ended since: at how many deaths in a row."""
        self.poison_suspects = _likeliest(self._deaths)
        """Jobs that ran when the last `SUSPECT_AFTER` processes in which they ran died; of very many, the likeliest."""
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, size * SLOT)
        self._memory = mmap.mmap(self._file, size * SLOT)
        self._size = size
        self._waiting = {job_id: slot for slot, job_id in zip(range(size), self._deaths, strict=False)}
        """Slots of jobs that have not run in this process, so that their deaths stay known if it dies first."""
        for job_id, slot in self._waiting.items():
            self._write(slot, job_id, self._deaths[job_id])
        self._free = list(range(len(self._waiting), size))
        self._frozen = False
        self._slots: dict[str, int] = {}
        """By execution: a redelivered job may run twice at once."""

    def begin(self, job_id: bytes, execution_id: str, apart: bool = False) -> None:
        """Record a job that starts. `apart`: in a process of its own, so that it does not end this one."""
        slot = self._waiting.pop(job_id, None) if self._waiting else None
        if slot is None and self._free:
            slot = self._free.pop()
        if slot is None and self._waiting:
            _, slot = self._waiting.popitem()
        if slot is not None:
            self._slots[execution_id] = slot
            deaths = self._deaths.get(job_id, 0) if self._deaths else 0
            self._write(slot, job_id, deaths if apart else RAN | deaths)

    def end(self, execution_id: str) -> None:
        """Remove a job that has ended."""
        slot = self._slots.pop(execution_id, None)
        if slot is not None:
            self._memory[slot * SLOT : (slot + 1) * SLOT] = _EMPTY
            self._free.append(slot)

    def blame(self, job_id: bytes) -> bool:
        """Count a death of this process although it goes on. Returns whether the job is a poison suspect now. May be
        called by any thread."""
        deaths = self._deaths[job_id] = min(self._deaths.get(job_id, 0) + 1, RAN - 1)
        if deaths >= SUSPECT_AFTER:
            self.poison_suspects.add(job_id.decode())
        slot = self._waiting.get(job_id)
        if slot is None and self._free:
            slot = self._waiting[job_id] = self._free.pop()
        if slot is not None:
            self._write(slot, job_id, deaths)
        return deaths >= SUSPECT_AFTER

    def freeze(self, blamed: str | None) -> None:
        """The process is about to end because of the execution `blamed`, or of an unknown one when it is None. Keep
        what the next process must know: nothing is changed from here on."""
        if blamed in self._slots:
            for execution_id in [each for each in self._slots if each != blamed]:
                self.end(execution_id)
        self._frozen = True
        self._slots.clear()
        self._free.clear()
        self._waiting.clear()

    def close(self) -> None:
        """The process ends normally."""
        if not self._frozen:
            self._memory[:] = bytes(len(self._memory))
        self._memory.close()
        os.close(self._file)

    def _write(self, slot: int, job_id: bytes, count: int) -> None:
        self._memory[slot * SLOT : (slot + 1) * SLOT] = job_id + bytes((count,))


def _read(data: bytes) -> dict[bytes, int]:
    """For each job of the file of a dead process, at how many deaths in a row it ran, that one included."""
    slots = (data[at : at + SLOT] for at in range(0, len(data), SLOT))
    jobs = [slot for slot in slots if re.fullmatch(rb"[0-9a-f-]{36}.", slot, re.DOTALL)]
    deaths = {slot[:ID]: min((slot[ID] & ~RAN) + (slot[ID] >= RAN), RAN - 1) for slot in jobs}
    return {job_id: count for job_id, count in deaths.items() if count}


def _likeliest(deaths: Mapping[bytes, int]) -> set[str]:
    """The suspects. An id is a UUIDv7 as a rule, so that the greatest is the newest."""
    found = sorted(((count, job_id) for job_id, count in deaths.items() if count >= SUSPECT_AFTER), reverse=True)
    most = MOST_SUSPECTS << found[0][0] - SUSPECT_AFTER if found else 0
    return {job_id.decode() for _, job_id in found[:most]}
