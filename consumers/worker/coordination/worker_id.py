"""Ids for workers without a configured one: the host's name and a number, the same ones after every restart.

The number is the first whose lock file no running process holds. The kernel releases a lock when its process ends,
however it ends, so the next worker takes over the id, and with it the transactional id that fences the dead worker.
"""

import fcntl
import os
import re
import tempfile
from pathlib import Path

_held: list[int] = []
"""Lock files of this process; closing one would release its id."""


def claim_worker_id(host: str, prefix: str, folder: Path | None = None) -> str:
    """The first free id on this host among the workers of one topic prefix. Held until the process ends.

    Raises OSError when the lock file cannot be made.
    """
    folder = folder or workers_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = 0
    while not _lock(folder / f"{_plain(prefix)}{number}.lock"):
        number += 1
    return f"{host}-{number}"


def crash_journal_path(transactional_id: str) -> Path:
    """The file of the crash journal of the worker with this transactional id."""
    return workers_folder() / f"{_plain(transactional_id)}.running"


def workers_folder() -> Path:
    """This user's folder for the files that outlive a worker process."""
    return Path(tempfile.gettempdir()) / f"millstream-workers-{os.getuid()}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _lock(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _held.append(file)
    return True
