"""The failure detector: which workers are overdue, and which of the others look after them."""

from millstream.consumers.worker.coordination.failure_detector import FORGET_AFTER, FailureDetector
from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess

OTHER = WorkerProcess("other", "1")


class Clocked:
    """A failure detector whose own heartbeat arrives every second."""

    def __init__(self, name: str, heartbeat_misses: int) -> None:
        self.detector = FailureDetector(name, heartbeat_misses)
        self.now = 100.0

    def own_heartbeat(self, seconds_later: float = 1.0) -> list[str]:
        self.now += seconds_later
        return self.detector.count(self.now)


def test_a_worker_that_misses_its_heartbeats_is_overdue_until_it_is_forgotten() -> None:
    detector = Clocked("me", 3)
    detector.detector.receive(OTHER)
    assert [detector.own_heartbeat() for _ in range(4)] == [[], [], ["other"], ["other"]]
    detector.detector.forget("other")
    assert detector.own_heartbeat() == []


def test_no_worker_is_overdue_while_the_topic_has_no_records() -> None:
    detector = Clocked("me", 3)
    detector.detector.receive(OTHER)
    assert detector.detector.overdue("other") is None


def test_own_heartbeats_that_arrive_together_count_as_one() -> None:
    detector = Clocked("me", 3)
    detector.detector.receive(OTHER)
    assert [detector.own_heartbeat(0.01) for _ in range(10)] == [[]] * 10


def test_heartbeats_sent_more_often_are_counted_more_often() -> None:
    detector = FailureDetector("me", 3, interval_s=0.1)
    detector.receive(OTHER)
    assert [detector.count(0.1 * count) for count in range(1, 4)] == [[], [], ["other"]]


def test_a_worker_that_came_back_is_watched_afresh() -> None:
    detector = Clocked("me", 2)
    for _ in range(2):
        detector.detector.receive(OTHER)
        assert detector.own_heartbeat() == []
    assert detector.own_heartbeat() == ["other"]
    assert detector.detector.overdue("other") is not None
    detector.detector.receive(OTHER)
    assert detector.detector.overdue("other") is None


def test_what_a_silent_workers_process_repeats_for_it_does_not_make_it_heard() -> None:
    detector = Clocked("me", 2)
    overdue = []
    for _ in range(3):
        detector.detector.receive(OTHER, silent=True)
        overdue.append(detector.own_heartbeat())
    assert overdue == [[], ["other"], ["other"]]


def test_three_live_workers_at_most_look_after_an_overdue_one_the_second_and_third_later() -> None:
    names = [f"w{number}" for number in range(10)]
    live = {name: Clocked(name, 3) for name in names}
    looking: list[int] = []
    for second in range(6):
        for name, detector in live.items():
            for sender in names:
                if sender != name:
                    detector.detector.receive(WorkerProcess(sender))
            if second == 0:
                detector.detector.receive(WorkerProcess("dead"))
        looking.append(sum(bool(detector.own_heartbeat()) for detector in live.values()))
    assert looking == [0, 0, 1, 2, 3, 3]


def test_an_overdue_worker_is_forgotten_when_all_its_transactions_have_timed_out() -> None:
    detector = Clocked("me", 3)
    detector.detector.receive(OTHER)
    for _ in range(3 + FORGET_AFTER + 1):
        detector.own_heartbeat()
    assert len(detector.detector) == 0


def test_made_up_workers_are_not_all_remembered() -> None:
    detector = FailureDetector("me", 3)
    for number in range(20_000):
        detector.receive(WorkerProcess(str(number)))
    assert len(detector) == 10_000
