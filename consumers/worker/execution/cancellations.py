"""Which jobs are to be cancelled: when their turn comes, or now. Pure.

A job that was submitted after the command to cancel it is another one under the same id: it runs.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

MAX_REMEMBERED = 1_000_000
CLOCKS_APART_US = 10_000_000
"""How much the clocks of the two hosts may differ that submitted a job and sent the command, in microseconds."""


class Cancellation(NamedTuple):
    """Why a job is to be cancelled, and when that was said, in microseconds since 1970."""

    reason: str
    issued_us: float = math.inf

    def applies(self, submitted_us: int) -> bool:
        """Whether it means a job that was submitted then."""
        return submitted_us <= self.issued_us + CLOCKS_APART_US


Unread = Callable[[bytes], Cancellation | None]
"""Reads the record of a cancellation; None when it cannot be read."""


class Cancellations:
    """Cancellations by job id. The oldest are dropped beyond `limit`. Not thread-safe."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._found: dict[str, Cancellation | bytes] = {}
        self._read: Unread = lambda record: None

    def add(self, job_id: str, cancellation: Cancellation) -> None:
        """Cancel a job whenever it starts."""
        # The newest is the last one to be dropped.
        self._found.pop(job_id, None)
        self._found[job_id] = cancellation
        self._limit_size()

    def add_unread(self, records: Mapping[str, bytes], read: Unread) -> None:
        """Cancel many jobs, most of which never start here: a record is read when its job does."""
        self._read = read
        self._found.update(records)
        self._limit_size()

    def revoke(self, job_id: str) -> None:
        """Let a job run after all; nothing to do when it was not to be cancelled."""
        self._found.pop(job_id, None)

    def get(self, job_id: str, submitted_us: int) -> str | None:
        """Why the job that was submitted then is to be cancelled; None when it is not."""
        found = self._found.get(job_id)
        if isinstance(found, bytes):
            found = self._read(found)
        return found.reason if found is not None and found.applies(submitted_us) else None

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._found

    def __len__(self) -> int:
        return len(self._found)

    def _limit_size(self) -> None:
        while len(self._found) > self._limit:
            del self._found[next(iter(self._found))]
