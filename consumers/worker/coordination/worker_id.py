"""Names of workers without a configured one, and the place of their crash journals.

A name that nobody chose is made new for each process, so two processes never share one. What a crash journal knows is
kept for the next process on this host: the first journal that no living process holds is taken over. That file is a
help and no truth: without it, jobs that end their process are noticed later.
"""

import fcntl
import os
import re
import secrets
import tempfile
from pathlib import Path

_held: list[int] = []
"""Lock files of this process; closing one would release its journal."""


def new_worker_id(host: str) -> str:
    """A name that no other worker has."""
    return f"{host}-{secrets.token_hex(4)}"


def claim_crash_journal(prefix: str, folder: Path | None = None) -> Path:
    """The first crash journal of a topic prefix on this host that no living process holds. Held until the process
    ends: the kernel releases a lock however its process ends.

    Raises OSError when there is no place for it.
    """
    folder = folder or workers_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = 0
    while not _lock(folder / f"{_plain(prefix)}{number}.lock"):
        number += 1
    return folder / f"{_plain(prefix)}{number}.running"


def crash_journal_path(transactional_id: str, folder: Path | None = None) -> Path:
    """The crash journal of the worker with this transactional id."""
    return (folder or workers_folder()) / f"{_plain(transactional_id)}.running"


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
