"""Who is fenced, on which evidence, and what makes a worker give up its name."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from millstream.consumers.worker.coordination import worker_watch as module
from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess
from millstream.consumers.worker.coordination.open_questions import OpenQuestions
from millstream.consumers.worker.coordination.worker_watch import WorkerWatch
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, DecodeError, Heartbeat, WorkerState

OWN = WorkerProcess("me", "5", "here", 1, ("g.default",))
OTHER = WorkerProcess("other", "3", "box", 77, ("g.default",))
EARLIER = WorkerProcess("me", "3", "box", 77, ("g.default",))


class Record:
    """A heartbeat as it is read."""

    def __init__(self, process: WorkerProcess, state: str, age_ms: int = 0, retains_as: str = "") -> None:
        self._key = process.worker_id.encode()
        told = {"state": state, "age_ms": str(age_ms), "retains_as": retains_as}
        headers = process.headers() | {name: text.encode() for name, text in told.items()}
        self._headers: list[Any] | None = list(headers.items())
        self._value = b"not decoded"

    def key(self) -> bytes:
        return self._key

    def headers(self) -> list[Any] | None:
        return self._headers

    def value(self) -> bytes:
        return self._value


class OldRecord(Record):
    """A heartbeat of the release before."""

    def __init__(self, worker_id: str, state: WorkerState = WorkerState.RUNNING) -> None:
        super().__init__(WorkerProcess(worker_id), "")
        self._headers = None
        self._value = Codec().encode(
            Heartbeat(worker_id=worker_id, transactional_id="worker-me", host="box", state=state)
        )


class Watching:
    """A worker that receives its own heartbeat every second, and asks Kafka at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, members: Counter[str] | None) -> None:
        self.members = members
        self.now = 100.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        self.asked: list[tuple[str, ...]] = []
        self.fenced: list[str] = []
        self.taken: list[str] = []
        self.questions = OpenQuestions()
        self.watch = WorkerWatch(
            Codec(),
            OWN,
            3,
            self.questions,
            self._members,
            self._fence,
            WorkerMetrics(WorkerStatus(), ["sleep"]),
            self.taken.append,
        )
        self.watch.reached_end()

    def _members(self, groups: Sequence[str]) -> Counter[str] | None:
        self.asked.append(tuple(groups))
        return self.members

    def _fence(self, worker_id: str) -> Future[None]:
        self.fenced.append(worker_id)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def receive(self, record: Record) -> None:
        message: Any = record
        self.watch.receive(message)

    def seconds(self, count: int, *between: Record) -> None:
        """Receive `between` and an own heartbeat in each of so many seconds."""
        for _ in range(count):
            self.now += 1
            for record in between:
                self.receive(record)
            self.receive(Record(OWN, "running"))
            self.questions.ask_all()


def test_a_worker_that_its_groups_have_as_a_member_is_never_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.receive(Record(OTHER, "running"))
    watching.seconds(30)
    assert watching.asked[0] == OTHER.groups
    assert watching.fenced == []


def test_a_worker_that_its_groups_have_given_up_is_fenced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.receive(Record(OTHER, "running"))
    watching.seconds(5)
    watching.members = Counter(me=1)
    watching.seconds(5)
    assert watching.fenced == ["other"]


def test_while_kafka_does_not_say_who_is_a_member_nobody_is_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, None)
    watching.receive(Record(OTHER, "running"))
    watching.seconds(30)
    assert watching.fenced == []


def test_a_worker_whose_process_died_is_fenced_before_its_groups_give_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.receive(Record(OTHER, "died"))
    watching.seconds(2)
    assert watching.fenced == []
    watching.seconds(1)
    assert watching.fenced == ["other"]


def test_a_worker_that_died_and_is_back_is_not_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    watching.receive(Record(OTHER, "died"))
    watching.seconds(5, Record(WorkerProcess("other", "4", "box", 78), "running"))
    assert watching.fenced == []


def test_a_worker_that_stopped_is_not_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    watching.receive(Record(OTHER, "running"))
    watching.receive(Record(OTHER, "stopped"))
    watching.receive(OldRecord("older"))
    watching.receive(OldRecord("older", WorkerState.STOPPED))
    watching.seconds(10)
    assert watching.fenced == []


def test_a_silent_worker_is_fenced_only_when_its_groups_have_given_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler holds the interpreter's lock, or the whole process is suspended: its Kafka client tells them apart."""
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.receive(Record(OTHER, "running"))
    watching.seconds(10, Record(OTHER, "running", age_ms=20_000))
    assert watching.fenced == []
    watching.members = Counter(me=1)
    watching.seconds(1, Record(OTHER, "running", age_ms=20_000))
    assert watching.fenced == ["other"]


def test_a_heartbeat_that_names_the_transactional_id_of_another_worker_harms_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.receive(Record(OTHER, "running"))
    # Its body names the id of `me`.
    watching.receive(OldRecord("ghost"))
    watching.seconds(5, Record(OTHER, "running"))
    assert watching.fenced == ["ghost"]


def test_the_body_is_decoded_of_heartbeats_of_the_release_before_only(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    watching.receive(Record(OTHER, "running"))
    unreadable = OldRecord("older")
    unreadable._value = b"not decoded"
    with pytest.raises(DecodeError):
        watching.receive(unreadable)


def test_the_later_of_two_processes_with_one_name_ends_when_its_groups_have_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=2))
    watching.watch.joined = True
    watching.seconds(2, Record(EARLIER, "running"))
    assert watching.taken == ["process 77 on host box"]


def test_a_worker_that_has_not_joined_ends_when_a_member_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    watching.seconds(2, Record(EARLIER, "running"))
    assert watching.taken == ["process 77 on host box"]


def test_a_worker_that_starts_waits_until_it_is_known_whether_its_name_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    for _ in range(2):
        watching.receive(Record(EARLIER, "running"))
    monkeypatch.setattr(module, "sleep", lambda seconds: None)
    asked: list[int] = []

    def keep_waiting() -> bool:
        watching.now += 1
        asked.append(1)
        if len(asked) == 10:
            watching.questions.ask_all()
        return not watching.taken

    watching.watch.await_own_name(keep_waiting)
    assert watching.taken == ["process 77 on host box"]


def test_a_worker_that_starts_does_not_wait_for_a_process_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    monkeypatch.setattr(module, "sleep", lambda seconds: None)
    waited: list[int] = []

    def keep_waiting() -> bool:
        watching.now += 1
        waited.append(1)
        return True

    watching.watch.await_own_name(keep_waiting)
    assert waited == [], "nobody was heard"
    watching.receive(Record(EARLIER, "running"))
    watching.watch.await_own_name(keep_waiting)
    assert 0 < len(waited) < 5
    waited.clear()
    watching.receive(Record(EARLIER, "died"))
    watching.watch.await_own_name(keep_waiting)
    assert waited == []
    assert watching.taken == []


def test_made_up_heartbeats_with_the_name_of_a_worker_do_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    watching.watch.joined = True
    watching.seconds(10, Record(EARLIER, "running"))
    assert watching.asked
    assert watching.taken == []


def test_the_process_behind_a_transactional_id_is_gone_once_it_died_or_another_took_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.seconds(1, Record(WorkerProcess("other", "aaa"), "running"))
    assert not watching.watch.writes_no_more("other", "other-handover-aaa-1", since=watching.now)
    watching.seconds(1, Record(WorkerProcess("other", "bbb"), "running"))
    assert watching.watch.writes_no_more("other", "other-handover-aaa-1", since=watching.now)
    assert not watching.watch.writes_no_more("other", "other-handover-bbb-1", since=watching.now)
    watching.seconds(1, Record(WorkerProcess("other", "bbb"), "died"))
    assert watching.watch.writes_no_more("other", "other-handover-bbb-1", since=watching.now)


def test_a_process_that_lives_and_has_dropped_what_it_announced_writes_nothing_more_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    process, since = WorkerProcess("other", "aaa"), watching.now
    watching.seconds(20, Record(process, "running", retains_as="other-handover-aaa-1"))
    assert not watching.watch.writes_no_more("other", "other-handover-aaa-1", since)
    watching.seconds(1, Record(process, "running", retains_as="other-handover-aaa-2"))
    assert watching.watch.writes_no_more("other", "other-handover-aaa-1", since)
    assert not watching.watch.writes_no_more("other", "other-handover-aaa-1", since=watching.now)


def test_what_this_worker_announced_in_an_earlier_session_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    since = watching.now
    watching.seconds(20)
    assert watching.watch.writes_no_more("me", "me-handover-1", since)
