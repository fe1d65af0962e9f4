"""Which attempts of which jobs a client has submitted, so that no two submissions have the same ones. Pure."""

import threading
from collections.abc import Mapping
from itertools import islice

REMEMBERED = 100_000
"""So many of the latest jobs are remembered at least, as many as the buffer of a producer holds. At most twice as many
and what one call adds are: 40 MB, or 80 MB after calls of so many jobs."""


class AttemptNumbers:
    """The attempts that are taken, by job. Thread-safe."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._next: dict[str, int] = {}
        self._next_of_older: dict[str, int] = {}
        self._lock = threading.Lock()

    def next_of(self, job_id: str) -> int:
        """The first attempt of a job that no submission has taken: 1 for a job that is not remembered."""
        return self._next.get(job_id) or self._next_of_older.get(job_id, 1)

    def take(self, job_id: str, first: int | None, count: int) -> range:
        """Take `count` attempts of a job, from `first` or, when that is None, from the next one on. Raises ValueError
        when the attempt is taken."""
        with self._lock:
            free = self.next_of(job_id)
            if first is not None and first < free:
                raise ValueError(f"attempt={first} of job {job_id} was submitted by this client; {free} was not")
            attempts = range(first or free, (first or free) + count)
            self._next[job_id] = attempts.stop
            self._drop_older()
        return attempts

    def take_first(self, next_attempts: Mapping[str, int]) -> None:
        """Take the first attempts of jobs whose ids are new, up to the given ones."""
        surplus = len(next_attempts) - self._remembered
        if surplus > 0:
            next_attempts = dict(islice(next_attempts.items(), surplus, None))
        with self._lock:
            self._next.update(next_attempts)
            self._drop_older()

    def release(self, job_id: str, attempts: range) -> None:
        """Give back attempts that Kafka does not have, unless later ones are taken."""
        with self._lock:
            if self.next_of(job_id) == attempts.stop:
                self._next[job_id] = attempts.start

    def _drop_older(self) -> None:
        if len(self._next) >= self._remembered:
            self._next, self._next_of_older = {}, self._next
