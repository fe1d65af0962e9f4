"""Detects workers that send no heartbeats any more, and decides which of the others fences them.

A missed heartbeat is counted by the detector's own heartbeats that arrived on the same partition since the other
worker's last one. So no two hosts' clocks are compared, and while the topic stands still no worker is suspected; own
heartbeats that arrive together after such a pause count as one. Rendezvous hashing orders the live workers: the first
fences at once, the second one heartbeat later if the first did not, and so on. Fencing twice does no harm. Pure.
"""

import hashlib
import math
from dataclasses import dataclass

from millstream.schemas import Heartbeat, WorkerState

COUNTED_APART = 0.7
"""Share of a heartbeat's interval: own heartbeats that arrive closer together count as one."""


@dataclass(slots=True)
class _Peer:
    transactional_id: str
    missed: int = 0


class FailureDetector:
    """The other workers whose heartbeats one worker has received. Not thread-safe."""

    def __init__(self, worker_id: str, heartbeat_misses: int) -> None:
        """`heartbeat_misses`: how many heartbeats a worker may miss."""
        self._worker_id = worker_id
        self._heartbeat_misses = heartbeat_misses
        self._peers: dict[str, _Peer] = {}
        self._counted_at = -math.inf

    def receive(self, heartbeat: Heartbeat, now: float) -> list[tuple[str, str]]:
        """Take a heartbeat that arrived at `now`, in seconds of a monotonic clock. Returns the workers to fence now, as
        (worker id, transactional id)."""
        if heartbeat.worker_id != self._worker_id:
            if heartbeat.state is WorkerState.STOPPED:
                self._peers.pop(heartbeat.worker_id, None)
            else:
                self._peers[heartbeat.worker_id] = _Peer(heartbeat.transactional_id)
            return []
        if now - self._counted_at < COUNTED_APART * heartbeat.interval_s:
            return []
        self._counted_at = now
        for peer in self._peers.values():
            peer.missed += 1
        live = [name for name, peer in self._peers.items() if peer.missed < self._heartbeat_misses]
        failed = [
            (name, peer.transactional_id)
            for name, peer in self._peers.items()
            if peer.missed >= self._heartbeat_misses + self._rank(name, live)
        ]
        for name, _ in failed:
            del self._peers[name]
        return failed

    def _rank(self, failed: str, live: list[str]) -> int:
        """How many of the live workers fence `failed` before this one."""
        own = _distance(self._worker_id, failed)
        return sum(_distance(name, failed) < own for name in live)


def _distance(worker_id: str, failed: str) -> bytes:
    return hashlib.sha256(f"{worker_id}\0{failed}".encode()).digest()
