"""The failure detector: which workers are overdue, and which of the others fences them."""

from millstream.consumers.worker.coordination.failure_detector import FailureDetector
from millstream.schemas import Heartbeat, WorkerState


class Clocked:
    """A failure detector that receives a heartbeat every second."""

    def __init__(self, name: str, heartbeat_misses: int) -> None:
        self.detector = FailureDetector(name, heartbeat_misses)
        self.now = 100.0

    def receive(self, heartbeat: Heartbeat, seconds_later: float = 1.0) -> list[tuple[str, str]]:
        self.now += seconds_later
        return self.detector.receive(heartbeat, self.now)


def heartbeat(worker: str, state: WorkerState = WorkerState.RUNNING) -> Heartbeat:
    return Heartbeat(worker_id=worker, transactional_id=f"txn-{worker}", state=state)


def test_a_worker_that_misses_its_heartbeats_is_fenced_once() -> None:
    detector = Clocked("me", 3)
    detector.receive(heartbeat("other"))
    fenced = [detector.receive(heartbeat("me")) for _ in range(6)]
    assert fenced == [[], [], [("other", "txn-other")], [], [], []]


def test_no_worker_is_overdue_while_the_topic_has_no_records() -> None:
    detector = Clocked("me", 3)
    detector.receive(heartbeat("other"))
    detector.receive(heartbeat("me"))
    for _ in range(10):
        assert detector.receive(heartbeat("other")) == []


def test_a_worker_that_reported_its_stop_is_not_fenced() -> None:
    detector = Clocked("me", 3)
    detector.receive(heartbeat("other"))
    detector.receive(heartbeat("other", WorkerState.STOPPED))
    assert [detector.receive(heartbeat("me")) for _ in range(5)] == [[]] * 5


def test_exactly_one_live_worker_fences_first_and_the_next_only_if_it_does_not() -> None:
    names = ["a", "b", "c"]
    live = {name: Clocked(name, 3) for name in names}
    for detector in live.values():
        detector.receive(heartbeat("dead"))
    fenced: dict[int, list[str]] = {}
    for second in range(1, 7):
        for sender in names:
            for name, detector in live.items():
                if detector.receive(heartbeat(sender)):
                    fenced.setdefault(second, []).append(name)
    assert [len(fenced.get(second, [])) for second in range(1, 7)] == [0, 0, 1, 1, 1, 0]


def test_a_worker_that_came_back_is_watched_afresh() -> None:
    detector = Clocked("me", 2)
    detector.receive(heartbeat("other"))
    detector.receive(heartbeat("me"))
    detector.receive(heartbeat("other"))
    assert detector.receive(heartbeat("me")) == []
    assert detector.receive(heartbeat("me")) == [("other", "txn-other")]


def test_own_heartbeats_that_arrive_together_count_as_one() -> None:
    detector = Clocked("me", 3)
    detector.receive(heartbeat("other"))
    assert [detector.receive(heartbeat("me"), 0.01) for _ in range(10)] == [[]] * 10


def test_heartbeats_sent_more_often_are_counted_more_often() -> None:
    detector = FailureDetector("me", 3)
    detector.receive(heartbeat("other"), 0.0)
    own = heartbeat("me").model_copy(update={"interval_s": 0.1})
    fenced = [detector.receive(own, 0.1 * count) for count in range(1, 4)]
    assert fenced == [[], [], [("other", "txn-other")]]
