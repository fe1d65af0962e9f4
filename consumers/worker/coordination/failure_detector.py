"""Which of the other workers has fallen silent, and who fences it.

Silence is counted in one's own beats that came by on the same partition since the other's last one: while the topic
stands still nobody seems silent, and no two hosts' clocks are compared; own beats that come at once, after the topic
stood still, count as one. The living share the work out by rendezvous hashing: the
first in line fences, the second only when the silence goes on a beat longer, and so on; a fence too many is harmless.
Pure.
"""

import hashlib
import math
from dataclasses import dataclass

from millstream.schemas import Heartbeat, WorkerState

APART_S = 0.7
"""Own beats that come closer together count as one; they are sent a second apart."""


@dataclass(slots=True)
class _Peer:
    transactional_id: str
    missed: int = 0


class FailureDetector:
    """The workers whose beats one worker has heard. Not thread-safe."""

    def __init__(self, worker_id: str, heartbeat_misses: int) -> None:
        self._worker_id = worker_id
        self._missed_beats = heartbeat_misses
        self._peers: dict[str, _Peer] = {}
        self._counted_at = -math.inf

    def heard(self, beat: Heartbeat, now: float) -> list[tuple[str, str]]:
        """Note a beat that came by at `now`, in seconds of a monotonic clock. Returns the workers to fence now, as
        (worker id, transactional id)."""
        if beat.worker_id != self._worker_id:
            if beat.state is WorkerState.STOPPED:
                self._peers.pop(beat.worker_id, None)
            else:
                self._peers[beat.worker_id] = _Peer(beat.transactional_id)
            return []
        if now - self._counted_at < APART_S:
            return []
        self._counted_at = now
        for peer in self._peers.values():
            peer.missed += 1
        living = [name for name, peer in self._peers.items() if peer.missed < self._missed_beats]
        dead = [
            (name, peer.transactional_id)
            for name, peer in self._peers.items()
            if peer.missed >= self._missed_beats + self._rank(name, living)
        ]
        for name, _ in dead:
            del self._peers[name]
        return dead

    def _rank(self, dead: str, living: list[str]) -> int:
        """How many of the living are before this worker in the line of those who fence `dead`."""
        own = _distance(self._worker_id, dead)
        return sum(_distance(name, dead) < own for name in living)


def _distance(worker_id: str, dead: str) -> bytes:
    return hashlib.sha256(f"{worker_id}\0{dead}".encode()).digest()
