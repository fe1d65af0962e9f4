"""The process that sends heartbeats: it speaks for a worker that cannot, and says when the worker is gone."""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from millstream.consumers.worker import WorkerConfig
from millstream.consumers.worker.coordination import heartbeat as module
from millstream.consumers.worker.coordination.heartbeat import HeartbeatSender
from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess
from millstream.consumers.worker.coordination.heartbeat_process import HeartbeatParts, Setup, body, run
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, Heartbeat, WorkerState
from tests.support.waiting import until

INTERVAL_S = 0.05


class Sent:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, dict[str, bytes]]] = []
        self.flushed = False

    def produce(
        self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]], on_delivery: object
    ) -> None:
        assert (topic, key) == ("heartbeats", b"w")
        self.records.append((value, dict(headers)))

    def poll(self, timeout_s: float) -> None:
        pass

    def flush(self, timeout_s: float) -> None:
        self.flushed = True

    @property
    def states(self) -> list[str]:
        return [headers["state"].decode() for _, headers in self.records]


def setup(parent: int | None = None) -> Setup:
    return Setup(
        parent=os.getppid() if parent is None else parent,
        interval_s=INTERVAL_S,
        topic="heartbeats",
        key=b"w",
        headers={"incarnation": b"1"},
        properties={},
    )


def told(*heartbeats: HeartbeatParts) -> io.BytesIO:
    """What a worker writes."""
    return io.BytesIO(b"".join(pickle.dumps(tuple(each)) for each in heartbeats))


@pytest.fixture
def pipe() -> Iterator[tuple[Any, Any]]:
    reading, writing = os.pipe()
    source, sink = os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)
    yield source, sink
    sink.close()


def test_a_worker_that_stops_says_so_last() -> None:
    sent = Sent()
    run(told(HeartbeatParts("running", "w-1", b"a", b"z"), HeartbeatParts("stopped", "", b"a", b"z")), sent, setup())
    assert sent.states == ["running", "stopped"]
    assert sent.flushed
    assert sent.records[0][1] == {"incarnation": b"1", "state": b"running", "age_ms": b"0", "retains_as": b"w-1"}


def test_when_the_worker_dies_its_process_says_so_and_ends() -> None:
    sent = Sent()
    run(told(HeartbeatParts("running", "w-1", b"a", b"z")), sent, setup())
    assert sent.states == ["running", "died"]


def test_a_worker_that_dies_before_its_first_heartbeat_says_nothing() -> None:
    sent = Sent()
    run(told(), sent, setup())
    assert sent.states == []


def test_while_the_worker_is_silent_its_last_heartbeat_is_sent_again_with_its_age(pipe: tuple[Any, Any]) -> None:
    source, sink = pipe

    class Closing(Sent):
        def produce(self, *record: Any, **more: Any) -> None:
            super().produce(*record, **more)
            if len(self.records) == 4:
                pickle.dump(tuple(HeartbeatParts("stopped", "", b"a", b"z")), sink)

    sink.write(pickle.dumps(tuple(HeartbeatParts("running", "w-1", b"a", b"z"))))
    sent = Closing()
    run(source, sent, setup())
    assert sent.states == ["running"] * 4 + ["stopped"]
    ages = [int(headers["age_ms"]) for _, headers in sent.records]
    assert ages[0] == ages[4] == 0
    assert 0 < ages[1] < ages[2] < ages[3]


def test_a_pipe_that_a_forked_child_holds_open_does_not_keep_a_dead_worker_alive(pipe: tuple[Any, Any]) -> None:
    source, sink = pipe
    sink.write(pickle.dumps(tuple(HeartbeatParts("running", "w-1", b"a", b"z"))))
    sent = Sent()
    run(source, sent, setup(parent=-1))
    assert sent.states == ["running", "died"]


def sender(script: Path, status: WorkerStatus, monkeypatch: pytest.MonkeyPatch) -> HeartbeatSender:
    monkeypatch.setattr(module, "SCRIPT", script)
    monkeypatch.setattr(module, "INTERVAL_S", INTERVAL_S)
    monkeypatch.setattr(module, "START_WITHIN_S", 0.0)
    config = WorkerConfig(worker_id="wörker", host="box")
    process = WorkerProcess("wörker", "1", "box", os.getpid())
    return HeartbeatSender(
        {}, "heartbeats", Codec(), config, process, "millstream.worker-wörker", ["default"], status, HostGauge()
    )


RECORDING = """
import pickle, sys
with open(sys.argv[0] + ".told", "ab") as file:
    file.write(b"")
    while True:
        try:
            file.write(pickle.dumps(pickle.load(sys.stdin.buffer)))
        except EOFError:
            break
        file.flush()
        {then}
"""


def recorded(script: Path) -> list[Any]:
    """What was told to the script."""
    file, found = script.with_name(script.name + ".told"), []
    if file.exists():
        with file.open("rb") as source:
            while True:
                try:
                    found.append(pickle.load(source))
                except EOFError:
                    break
    return found


def test_the_body_is_the_heartbeat_with_the_moment_at_which_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "recording.py"
    script.write_text(RECORDING.format(then=""))
    status = WorkerStatus()
    with sender(script, status, monkeypatch):
        until(lambda: len(recorded(script)) >= 3)
    setup, *heartbeats = recorded(script)
    assert setup["key"] == "wörker".encode()
    assert heartbeats[-1][0] == "stopped"
    now = 1_700_000_000.25
    for each in heartbeats:
        heartbeat = Codec().decode(body(HeartbeatParts(*each), now), Heartbeat)
        assert heartbeat.occurred_at == datetime.fromtimestamp(now, UTC)
        assert (heartbeat.worker_id, heartbeat.transactional_id) == ("wörker", "millstream.worker-wörker")
        assert (heartbeat.host, heartbeat.lanes, heartbeat.state.value) == ("box", ["default"], each[0])
    assert Codec().decode(body(HeartbeatParts(*heartbeats[0]), now), Heartbeat).state is WorkerState.STARTING


def test_a_process_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "ends.py"
    script.write_text(RECORDING.format(then="sys.exit(3)"))
    with sender(script, WorkerStatus(), monkeypatch):
        until(lambda: sum(isinstance(each, dict) for each in recorded(script)) >= 2)


def test_it_starts_without_anything_of_millstream() -> None:
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print([m for m in sys.modules if 'millstream.' in m])"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, str(module.SCRIPT)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
