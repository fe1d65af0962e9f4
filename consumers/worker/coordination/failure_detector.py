"""Detects workers that send no heartbeats any more, and decides which of the others look after them.

A missed heartbeat is counted by the detector's own heartbeats that arrived on the same partition since the other
worker's last one. So no two hosts' clocks are compared, and while the topic stands still no worker is overdue; own
heartbeats that arrive together after such a pause count as one. A heartbeat that a silent worker's process repeats for
it is as good as none. Rendezvous hashing orders the live workers: the first looks after an overdue one at once, the
second one heartbeat later, and the third after another one; the rest leave it to them. Pure.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess

COUNTED_APART = 0.7
"""Share of a heartbeat's interval: own heartbeats that arrive closer together count as one."""

LOOKED_AFTER_BY = 3
"""Workers that look after an overdue one."""

FORGET_AFTER = 60
"""Missed heartbeats after which there is nothing left to end: every transaction of the worker has timed out."""

MOST_PEERS = 10_000
MOST_OVERDUE = 100
MOST_GROUPS = 300
"""Overdue workers that are reported at once, the others are later, and groups that are asked about. They bound what
made-up heartbeats can cost."""


@dataclass(slots=True)
class Peer:
    """Another worker. `missed`: its heartbeats in a row that did not arrive. `died`: its process is known to be
    gone."""

    process: WorkerProcess
    missed: int = 0
    died: bool = False


class FailureDetector:
    """The other workers whose heartbeats one worker has received. Not thread-safe."""

    def __init__(self, worker_id: str, heartbeat_misses: int, interval_s: float = 1.0) -> None:
        """`heartbeat_misses`: how many heartbeats a worker may miss. `interval_s`: seconds between two heartbeats."""
        self._worker_id = worker_id
        self._heartbeat_misses = heartbeat_misses
        self._interval_s = interval_s
        self._peers: dict[str, Peer] = {}
        self._counted_at = -math.inf

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, worker_id: str) -> Peer | None:
        """What is known of another worker."""
        return self._peers.get(worker_id)

    def receive(self, process: WorkerProcess, silent: bool = False, died: bool = False) -> None:
        """Take a heartbeat of another worker. `silent`: the worker itself has not spoken for as long as it takes to be
        overdue. `died`: its process is gone, so there will be no more."""
        peer = self._peers.get(process.worker_id)
        if peer is None:
            if len(self._peers) < MOST_PEERS:
                self._peers[process.worker_id] = Peer(process, died=died)
            return
        peer.process, peer.died = process, died
        if not silent:
            peer.missed = 0

    def forget(self, worker_id: str) -> None:
        """The worker has stopped, or nothing is left to do about it."""
        self._peers.pop(worker_id, None)

    def overdue(self, worker_id: str) -> Peer | None:
        """The worker, if it has still sent nothing since it became overdue."""
        peer = self._peers.get(worker_id)
        return peer if peer is not None and peer.missed >= self._heartbeat_misses else None

    def groups_of_overdue(self) -> set[str]:
        """The groups of every overdue worker, of very many `MOST_GROUPS` groups."""
        found: set[str] = set()
        for peer in self._peers.values():
            if peer.missed >= self._heartbeat_misses and len(found) < MOST_GROUPS:
                found.update(peer.process.groups)
        return found

    def count(self, now: float) -> list[str]:
        """An own heartbeat arrived at `now`, in seconds of a monotonic clock. Returns the ids of the overdue workers
        that this one looks after; each is returned again at the next heartbeat unless it is forgotten."""
        if now - self._counted_at < COUNTED_APART * self._interval_s:
            return []
        self._counted_at = now
        overdue: list[str] = []
        for name, peer in list(self._peers.items()):
            peer.missed += 1
            if peer.missed > self._heartbeat_misses + FORGET_AFTER:
                del self._peers[name]
            elif peer.missed >= self._heartbeat_misses and len(overdue) < MOST_OVERDUE:
                overdue.append(name)
        if not overdue:
            return []
        live = [self._worker_id, *(name for name, peer in self._peers.items() if peer.missed < self._heartbeat_misses)]
        return [name for name in overdue if self._rank(name, live) <= self._peers[name].missed - self._heartbeat_misses]

    def _rank(self, overdue: str, live: Iterable[str]) -> float:
        """How many of the live workers look after `overdue` before this one; infinite when enough do."""
        first = heapq.nsmallest(LOOKED_AFTER_BY, live, key=lambda name: _distance(name, overdue))
        return first.index(self._worker_id) if self._worker_id in first else math.inf


def _distance(worker_id: str, overdue: str) -> bytes:
    return hashlib.sha256(f"{worker_id}\0{overdue}".encode()).digest()
