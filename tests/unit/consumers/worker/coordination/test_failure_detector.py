"""FailureDetector: who fell silent, and who fences it."""

from millstream.consumers.worker.coordination.failure_detector import FailureDetector
from millstream.schemas import Heartbeat, WorkerState


class Ear:
    """FailureDetector, with a beat every second."""

    def __init__(self, name: str, heartbeat_misses: int) -> None:
        self.peers = FailureDetector(name, heartbeat_misses)
        self.now = 100.0

    def heard(self, beat: Heartbeat, seconds_later: float = 1.0) -> list[tuple[str, str]]:
        self.now += seconds_later
        return self.peers.heard(beat, self.now)


def beat(worker: str, state: WorkerState = WorkerState.RUNNING) -> Heartbeat:
    return Heartbeat(worker_id=worker, transactional_id=f"txn-{worker}", state=state)


def test_a_worker_that_misses_its_beats_is_fenced_once() -> None:
    peers = Ear("me", 3)
    peers.heard(beat("other"))
    said = [peers.heard(beat("me")) for _ in range(6)]
    assert said == [[], [], [("other", "txn-other")], [], [], []]


def test_nobody_is_silent_while_the_topic_stands_still() -> None:
    peers = Ear("me", 3)
    peers.heard(beat("other"))
    peers.heard(beat("me"))
    for _ in range(10):
        assert peers.heard(beat("other")) == []


def test_a_worker_that_said_it_stops_is_not_fenced() -> None:
    peers = Ear("me", 3)
    peers.heard(beat("other"))
    peers.heard(beat("other", WorkerState.STOPPED))
    assert [peers.heard(beat("me")) for _ in range(5)] == [[]] * 5


def test_exactly_one_of_the_living_fences_first_and_the_next_only_if_it_does_not() -> None:
    names = ["a", "b", "c"]
    living = {name: Ear(name, 3) for name in names}
    for peers in living.values():
        peers.heard(beat("dead"))
    fenced: dict[int, list[str]] = {}
    for second in range(1, 7):
        for speaker in names:
            for name, peers in living.items():
                if peers.heard(beat(speaker)):
                    fenced.setdefault(second, []).append(name)
    assert [len(fenced.get(second, [])) for second in range(1, 7)] == [0, 0, 1, 1, 1, 0]


def test_a_worker_that_came_back_is_watched_afresh() -> None:
    peers = Ear("me", 2)
    peers.heard(beat("other"))
    peers.heard(beat("me"))
    peers.heard(beat("other"))
    assert peers.heard(beat("me")) == []
    assert peers.heard(beat("me")) == [("other", "txn-other")]


def test_own_beats_that_come_all_at_once_are_no_silence_of_the_others() -> None:
    peers = Ear("me", 3)
    peers.heard(beat("other"))
    assert [peers.heard(beat("me"), 0.01) for _ in range(10)] == [[]] * 10
