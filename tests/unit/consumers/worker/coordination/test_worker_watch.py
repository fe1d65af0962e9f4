"""Who is fenced, on which evidence, and what makes a worker give up its name."""

from collections import Counter
from collections.abc import Callable, Sequence
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
from millstream.schemas.ids import new_id

WRITER_1, WRITER_2 = new_id(), new_id()
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

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        members: Counter[str] | None,
        started_over: Callable[[], bool] | None = None,
    ) -> None:
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
            started_over,
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
    assert not watching.watch.writes_no_more("other", f"other-handover-aaa-{WRITER_1}", since=watching.now)
    watching.seconds(1, Record(WorkerProcess("other", "bbb"), "running"))
    assert watching.watch.writes_no_more("other", f"other-handover-aaa-{WRITER_1}", since=watching.now)
    assert not watching.watch.writes_no_more("other", f"other-handover-bbb-{WRITER_1}", since=watching.now)
    watching.seconds(1, Record(WorkerProcess("other", "bbb"), "died"))
    assert watching.watch.writes_no_more("other", f"other-handover-bbb-{WRITER_1}", since=watching.now)


def test_a_process_that_lives_and_has_dropped_what_it_announced_writes_nothing_more_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    process, since = WorkerProcess("other", "aaa"), watching.now
    watching.seconds(20, Record(process, "running", retains_as=f"other-handover-aaa-{WRITER_1}"))
    assert not watching.watch.writes_no_more("other", f"other-handover-aaa-{WRITER_1}", since)
    watching.seconds(1, Record(process, "running", retains_as=f"other-handover-aaa-{WRITER_2}"))
    assert watching.watch.writes_no_more("other", f"other-handover-aaa-{WRITER_1}", since)
    assert not watching.watch.writes_no_more("other", f"other-handover-aaa-{WRITER_1}", since=watching.now)


def test_what_this_worker_announced_in_an_earlier_session_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    since = watching.now
    watching.seconds(20)
    assert watching.watch.writes_no_more("me", f"me-handover--{WRITER_1}", since)


def test_a_silent_worker_whose_heartbeats_name_groups_of_others_is_not_fenced_while_its_own_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    members = {"g.default": Counter(me=1, other=1), "sinks": Counter(sink=1)}
    monkeypatch.setattr(
        watching.watch, "_members", lambda groups: sum((members.get(each, Counter()) for each in groups), Counter())
    )
    watching.receive(Record(OTHER, "running"))
    forged = WorkerProcess("other", "9", "box", 77, ("sinks",))
    watching.seconds(20, Record(forged, "running", age_ms=60_000))
    assert watching.fenced == []


def test_kafka_is_asked_once_for_all_workers_that_are_overdue_together(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    for number in range(300):
        watching.receive(Record(WorkerProcess(f"ghost-{number}", "1", groups=(f"g{number % 7}",)), "running"))
    watching.seconds(4)
    assert 0 < len(watching.asked) <= 2
    assert len(watching.fenced) == len(set(watching.fenced))


@pytest.mark.parametrize("key", [b"", b"\xff\xfe", b"w" * 1_000_000])
def test_a_heartbeat_of_a_worker_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, key: bytes) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    record = Record(OTHER, "running")
    record._key = key
    with pytest.raises(DecodeError, match="worker id"):
        watching.receive(record)
    watching.seconds(5)
    assert watching.asked == []


def test_headers_that_are_too_long_are_cut_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(monkeypatch, Counter(me=1))
    with pytest.raises(DecodeError, match="incarnation of 1,000,000 bytes"):
        watching.receive(Record(WorkerProcess("other", "i" * 1_000_000), "running"))
    groups = tuple(f"group-{number:04}" for number in range(100_000))
    headers = WorkerProcess("other", "3", "h" * 1_000_000, 7, groups).headers()
    process = WorkerProcess.of("other", headers)
    assert len(process.host) == 255
    assert len(process.groups) <= 100
    assert set(process.groups) <= set(groups)


def test_an_incarnation_that_only_resembles_that_of_a_worker_does_not_end_its_right_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching = Watching(monkeypatch, Counter(me=1, other=1))
    watching.seconds(1, Record(WorkerProcess("other", "aaa-bbb"), "running"))
    for incarnation in ("a", "aaa", "bbb", "handover", "aaa-bbb-c"):
        watching.receive(Record(WorkerProcess("ghost", incarnation), "stopped"))
    assert not watching.watch.writes_no_more("other", f"other-handover-aaa-bbb-{WRITER_1}", since=watching.now)


def test_made_up_heartbeats_do_not_end_a_supervised_worker_that_nobody_has_fenced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fenced = False
    watching = Watching(monkeypatch, Counter(me=1), lambda: fenced)
    watching.watch.joined = True
    watching.seconds(30, Record(EARLIER, "running"))
    assert watching.taken == []
    fenced = True
    watching.seconds(2, Record(EARLIER, "running"))
    assert watching.taken == ["process 77 on host box"] * len(watching.taken) != []
