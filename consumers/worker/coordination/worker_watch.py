"""Watches the heartbeats of all workers: ends the open transaction of one that is gone, and notices one of this name.

A worker that was killed inside a transaction holds back every `read_committed` reader and its own pending offsets until
the transaction times out. Opening its transactional id aborts that at once, but would end the transactions of a worker
that is alive as well. So missing heartbeats alone are no reason: either the process that sent them has said that the
worker died, or its consumer groups have it as a member no more.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic, sleep

import structlog
from confluent_kafka import Message

from millstream.consumers.worker.coordination.failure_detector import FailureDetector
from millstream.consumers.worker.coordination.heartbeat import INTERVAL_S
from millstream.consumers.worker.coordination.heartbeat_headers import (
    INCARNATION,
    LONGEST_NAME,
    WorkerProcess,
    headers_of,
)
from millstream.consumers.worker.coordination.heartbeat_process import AGE_MS, DIED, RETAINS_AS, STATE, STOPPED
from millstream.consumers.worker.coordination.known_workers import KnownWorkers
from millstream.consumers.worker.coordination.namesakes import Namesakes
from millstream.consumers.worker.coordination.open_questions import OpenQuestions
from millstream.consumers.worker.monitoring.metrics import WorkerMetrics
from millstream.schemas import Codec, DecodeError, Heartbeat, WorkerState

log = structlog.get_logger(__name__)

NAME_CHECK_S = 2.5
"""How long a worker that starts listens whether another one of its name is alive, if there may be one."""

FENCED_WITHIN_S = 15.0
MEMBERS_FOR_S = 1.0
"""How long an answer about members is used, so that one answer does for all that are overdue together."""

MOST_ENDED = 1_000
"""Processes that are remembered to have ended."""

_ENDED = (STOPPED.encode(), DIED.encode())
_DRAINING = WorkerState.DRAINING.value.encode()
OWN_NAME = "own name"
_WRITTEN_BY = re.compile(r".*-handover-(.+)-[0-9a-f-]{36}")
"""The incarnation in the transactional id under which a worker writes outcomes of partitions that it has given back."""


class WorkerWatch:
    """Receives heartbeats on the thread of the listener; what has to be asked of Kafka goes to `questions`.

    `members`: the client ids of the members of consumer groups, each with the most that one group has of it; None while
    that is unknown; it may block. `fence` ends the right of a worker to write, by its id; its result is there when that
    has happened. `on_name_taken` is called with what is known of another process that has this worker's id and keeps
    it. `started_over`: given for a worker whose members are static, of which a group has only one however many have the
    name: whether it started over lately, as one does whose name another one uses.
    """

    def __init__(
        self,
        codec: Codec,
        own: WorkerProcess,
        heartbeat_misses: int,
        questions: OpenQuestions,
        members: Callable[[Sequence[str]], Counter[str] | None],
        fence: Callable[[str], Future[None]],
        metrics: WorkerMetrics,
        on_name_taken: Callable[[str], None],
        started_over: Callable[[], bool] | None = None,
    ) -> None:
        self._codec = codec
        self._own = own
        self._own_key, self._own_incarnation = own.worker_id.encode(), own.incarnation.encode()
        self._silent_ms = int(heartbeat_misses * INTERVAL_S * 1000)
        self._questions = questions
        self._members = members
        self._fence = fence
        self._metrics = metrics
        self._on_name_taken = on_name_taken
        self._started_over = started_over
        self._lock = threading.Lock()
        self._detector = FailureDetector(own.worker_id, heartbeat_misses, INTERVAL_S)
        self._namesakes = Namesakes(own)
        self._known = KnownWorkers(own.worker_id, monotonic())
        self._ended: dict[str, None] = {}
        self._told_members: tuple[float, frozenset[str], Counter[str] | None] = (float("-inf"), frozenset(), None)
        self._up_to_date = threading.Event()
        self.joined = False
        """Whether this worker joins its groups, so that a member with its name may be itself."""

    def receive(self, message: Message) -> None:
        """Take a record of `jobs.heartbeats`. Returns at once.

        Raises `DecodeError` and `RegistryUnavailable`; nothing has changed then.
        """
        key, headers = message.key() or b"", headers_of(message)
        if not 0 < len(key) <= LONGEST_NAME:
            raise DecodeError(f"a worker id of {len(key):,} bytes")
        state = headers.get(STATE)
        if state is None:
            # A worker of the release before says it in the body.
            state = self._codec.decode(message.value(), Heartbeat).state.value.encode()
        with self._lock:
            if key == self._own_key:
                self._receive_own(headers, state)
            else:
                self._receive_other(_worker_id(key), headers, state)

    def reached_end(self) -> None:
        """The heartbeats that were there when the worker started have been received."""
        if not self._up_to_date.is_set():
            self._namesakes.live = True
            self._up_to_date.set()

    def await_own_name(self, keep_waiting: Callable[[], bool]) -> None:
        """Wait until it is known whether another process has this worker's id. Returns at once unless one sent a
        heartbeat in the last seconds; one that sends none for `NAME_CHECK_S` seconds is gone."""
        deadline = monotonic() + NAME_CHECK_S
        self._up_to_date.wait(NAME_CHECK_S)
        # One that runs stays heard until Kafka has said whether it is a member.
        while self._may_be_taken(deadline) and keep_waiting():
            sleep(0.05)

    def _may_be_taken(self, deadline: float) -> bool:
        with self._lock:
            waits = self._namesakes.any_heard and monotonic() < deadline
            return waits or self._namesakes.owner() is not None

    def writes_no_more(self, worker_id: str, transactional_id: str, since: float) -> bool:
        """Whether a worker writes nothing more under `transactional_id`, which its incarnation is part of, as far as
        heartbeats show: its process has ended, or it has dropped what it announced. `since`: when that was read, in
        seconds of the monotonic clock."""
        with self._lock:
            written_by = _WRITTEN_BY.fullmatch(transactional_id)
            ended = written_by is not None and written_by[1] in self._ended
            dropped = self._known.has_dropped(worker_id, transactional_id, since)
            return ended or dropped or self._known.is_gone(worker_id, monotonic())

    def all_understand(self) -> bool:
        """Whether every worker that was heard of lately understands what this one announces."""
        with self._lock:
            return self._known.all_understand(monotonic())

    def _receive_own(self, headers: dict[str, bytes], state: bytes) -> None:
        if headers.get(INCARNATION) != self._own_incarnation:
            self._namesakes.receive(WorkerProcess.of(self._own.worker_id, headers), state in _ENDED)
            if self._namesakes.owner() is not None:
                self._questions.ask(OWN_NAME, self._check_own_name)
            return
        now = monotonic()
        self._note(self._own.worker_id, headers, state)
        for worker_id in self._detector.count(now):
            self._questions.ask(f"worker {worker_id}", partial(self._check_worker, worker_id))

    def _receive_other(self, worker_id: str, headers: dict[str, bytes], state: bytes) -> None:
        peer, incarnation = self._detector.get(worker_id), headers.get(INCARNATION, b"").decode(errors="replace")
        if peer is not None and peer.process.incarnation == incarnation:
            process = peer.process
        else:
            process = WorkerProcess.of(worker_id, headers)
            if peer is not None and state in _ENDED and incarnation < peer.process.incarnation:
                # Of the process before the one that is known.
                self._note_end(process)
                return
            if peer is not None:
                self._note_end(peer.process)
        self._note(worker_id, headers, state)
        if state in _ENDED:
            self._note_end(process)
        elif self._ended:
            self._ended.pop(process.incarnation, None)
        if state == _ENDED[0]:
            self._detector.forget(worker_id)
            return
        silent = state != _DRAINING and _number(headers.get(AGE_MS)) >= self._silent_ms
        self._detector.receive(process, silent, died=state == _ENDED[1])

    def _note(self, worker_id: str, headers: dict[str, bytes], state: bytes) -> None:
        self._known.receive(
            worker_id,
            monotonic(),
            ended=state in _ENDED,
            understands=bool(headers.get(INCARNATION)),
            retains_as=headers.get(RETAINS_AS, b"")[: 3 * LONGEST_NAME].decode(errors="replace"),
            age_s=_number(headers.get(AGE_MS)) / 1000,
        )

    def _note_end(self, process: WorkerProcess) -> None:
        if process.incarnation:
            self._ended[process.incarnation] = None
            if len(self._ended) > MOST_ENDED:
                del self._ended[next(iter(self._ended))]

    def _check_worker(self, worker_id: str) -> bool:
        """Fence a worker if it is gone. Returns False while that is not known."""
        with self._lock:
            peer = self._detector.overdue(worker_id)
        if peer is None:
            return True
        if not peer.died:
            members = self._members_of(peer.process.groups)
            if members is None or worker_id in members:
                return False
        with self._lock:
            if self._detector.overdue(worker_id) is None:
                return True
            self._detector.forget(worker_id)
            self._note_end(peer.process)
        self._metrics.fenced += 1
        log.warning(
            "worker_fenced",
            failed_worker_id=worker_id,
            host=peer.process.host,
            pid=peer.process.pid,
            reason="its process died" if peer.died else "its groups have it as a member no more",
        )
        try:
            self._fence(worker_id).result(FENCED_WITHIN_S)
        except Exception as error:
            log.warning("fencing_failed", failed_worker_id=worker_id, reason=str(error))
        return True

    def _check_own_name(self) -> bool:
        owner = self._namesakes.owner()
        if owner is not None:
            if self._started_over is not None and self.joined:
                taken = self._started_over()
            else:
                members = self._members(self._own.groups)
                taken = members is not None and members[self._own.worker_id] > self.joined
            if taken:
                self._on_name_taken(owner.place)
        with self._lock:
            self._namesakes.forget()
        return True

    def _members_of(self, groups: Sequence[str]) -> Counter[str] | None:
        """The members of these groups, of this worker's own, and of those of every other overdue worker: heartbeats may
        name groups that their worker is no member of, and one question is asked for all. Blocks."""
        asked_at, asked, members = self._told_members
        if monotonic() - asked_at > MEMBERS_FOR_S or not asked.issuperset(groups):
            with self._lock:
                asked = frozenset((*self._own.groups, *groups, *self._detector.groups_of_overdue()))
            members = self._members(sorted(asked))
            self._told_members = (monotonic(), asked, members)
        return members


def _worker_id(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("a worker id that is not UTF-8") from error


def _number(text: bytes | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 15 else 0
