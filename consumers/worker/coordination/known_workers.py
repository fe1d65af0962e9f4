"""What one worker knows of all from their heartbeats: which are gone, what they dropped, and which run this release.
Pure.

Workers of releases that send no incarnation (`heartbeat_headers.py`) do not understand what this one announces.
"""

from dataclasses import dataclass

GONE_AFTER_S = 10.0
"""Silence after which a worker is taken for gone; only what it announced itself depends on that."""

TOLD_AFTER_S = 5.0
"""How long after an announcement what a worker says about it is believed: it says so with each heartbeat, every second.
"""

RECENT_S = 5.0
MOST_WORKERS = 10_000


@dataclass(slots=True)
class _Worker:
    heard_at: float
    told_at: float
    ended: bool
    understands: bool
    retains_as: str


class KnownWorkers:
    """All workers that were heard of, this one included. Written by one thread, read by any. `now`: seconds of a
    monotonic clock."""

    def __init__(self, worker_id: str, now: float) -> None:
        self._worker_id = worker_id
        self._began_at = now
        self._heard_self_at = now
        self._workers: dict[str, _Worker] = {}
        """The one that was heard last is the last one."""
        self._dropped_at = float("-inf")
        """When the last one of those was heard that are not remembered."""

    def receive(
        self, worker_id: str, now: float, *, ended: bool, understands: bool, retains_as: str = "", age_s: float = 0.0
    ) -> None:
        """Take a heartbeat. `ended`: it is the last one of its process. `retains_as`: the transactional id under which
        the worker writes what it announced, as it said `age_s` seconds before."""
        if worker_id == self._worker_id:
            self._heard_self_at = now
        self._workers.pop(worker_id, None)
        if len(self._workers) >= MOST_WORKERS:
            dropped = self._workers.pop(next(iter(self._workers)))
            self._dropped_at = max(self._dropped_at, dropped.heard_at)
        self._workers[worker_id] = _Worker(now, now - age_s, ended, understands, retains_as)

    def is_gone(self, worker_id: str, now: float) -> bool:
        """Whether a worker has ended, as far as heartbeats show. While this worker's own heartbeats do not arrive
        either, nobody counts as gone."""
        if now - self._heard_self_at > RECENT_S:
            return False
        worker = self._workers.get(worker_id)
        if worker is None:
            # One of so many that they are not all remembered may be alive.
            listened_s = now - max(self._began_at, self._dropped_at)
            return worker_id != self._worker_id and listened_s > GONE_AFTER_S
        return worker.ended or now - worker.heard_at > GONE_AFTER_S

    def has_dropped(self, worker_id: str, transactional_id: str, since: float) -> bool:
        """Whether a worker has said that it writes nothing under this id any more. `since`: when this worker learnt of
        the announcement, in seconds of the monotonic clock."""
        worker = self._workers.get(worker_id)
        return worker is not None and worker.retains_as != transactional_id and worker.told_at > since + TOLD_AFTER_S

    def all_understand(self, now: float) -> bool:
        """Whether every worker that was heard of lately understands what this one announces."""
        return all(
            worker.understands
            for worker in self._workers.copy().values()
            if not worker.ended and now - worker.heard_at < RECENT_S
        )
