"""Another process under the name of this one."""

from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess
from millstream.consumers.worker.coordination.namesakes import Namesakes

OWN = WorkerProcess("me", "5", "here", 1)
EARLIER = WorkerProcess("me", "3", "box", 77)
LATER = WorkerProcess("me", "8", "box", 78)


def live() -> Namesakes:
    made = Namesakes(OWN)
    made.live = True
    return made


def test_the_process_that_was_there_first_keeps_the_name() -> None:
    later, earlier = live(), live()
    for _ in range(3):
        later.receive(EARLIER, ended=False)
        earlier.receive(LATER, ended=False)
    assert later.owner() == EARLIER
    assert earlier.owner() is None


def test_own_heartbeats_are_no_other_process() -> None:
    known = live()
    for _ in range(3):
        known.receive(OWN, ended=False)
    assert not known.any_heard


def test_the_last_heartbeat_of_a_process_that_was_killed_is_not_taken_for_a_running_one() -> None:
    known = live()
    known.receive(EARLIER, ended=False)
    assert known.any_heard
    assert known.owner() is None


def test_a_process_that_ended_leaves_its_name() -> None:
    known = live()
    for _ in range(3):
        known.receive(EARLIER, ended=False)
    known.receive(EARLIER, ended=True)
    assert known.owner() is None
    assert not known.any_heard


def test_heartbeats_from_before_the_start_make_it_wait_and_prove_nothing() -> None:
    known = Namesakes(OWN)
    for _ in range(3):
        known.receive(EARLIER, ended=False)
    assert known.any_heard
    assert known.owner() is None


def test_a_worker_of_the_release_before_counts_as_earlier() -> None:
    known = live()
    for _ in range(2):
        known.receive(WorkerProcess("me"), ended=False)
    assert known.owner() == WorkerProcess("me")


def test_made_up_processes_are_not_all_remembered() -> None:
    known = live()
    for number in range(10_000):
        known.receive(WorkerProcess("me", str(number)), ended=False)
    assert len(known) <= 2
