"""Tells once a second what a worker is doing, to the process that sends its heartbeats (`heartbeat_process.py`)."""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import structlog

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.coordination.background_thread import BackgroundThread
from millstream.consumers.worker.coordination.heartbeat_headers import WorkerProcess
from millstream.consumers.worker.coordination.heartbeat_process import FLUSH_S, HeartbeatParts, Setup
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, Heartbeat, InFlight, WorkerState
from millstream.schemas.codec import HEADER
from millstream.schemas.denial import RIGHTS, is_denial, no_right
from millstream.schemas.oauth import same_modules
from millstream.schemas.partial_encoder import long, microseconds

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0
MOST_IN_FLIGHT = 100
"""Running attempts that a heartbeat lists at most, the oldest first."""

START_WITHIN_S = 1.0
"""The process starts once the worker is ready, after this time at the latest: it would slow the start of the worker."""

JOIN_S = 5.0
TELL_INTERVAL_S = 60.0
END_WITHIN_S = FLUSH_S + 2.0
SCRIPT = Path(__file__).with_name("heartbeat_process.py")


class HeartbeatSender(BackgroundThread):
    """Sends a `Heartbeat` every second from entering to leaving; the last one has the state `stopped`. After an error
    the last one says that the process died."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        codec: Codec,
        config: WorkerConfig,
        process: WorkerProcess,
        transactional_id: str,
        lanes: Sequence[str],
        status: WorkerStatus,
        host: HostGauge,
    ) -> None:
        """`properties`: of the producer, as `KafkaConnection.producer` makes them."""
        super().__init__("millstream-heartbeat", JOIN_S)
        self._codec = codec
        self._status = status
        self._host = host
        self._constant = Heartbeat(
            worker_id=config.worker_id,
            transactional_id=transactional_id,
            host=config.host,
            region=config.region,
            instance_type=config.instance_type,
            worker_version=config.version,
            lanes=list(lanes),
            interval_s=INTERVAL_S,
        ).model_dump(exclude={"occurred_at"})
        self._setup = Setup(
            parent=os.getpid(),
            interval_s=INTERVAL_S,
            topic=topic,
            key=config.worker_id.encode(),
            headers=process.headers(),
            properties=properties,
        )
        self._sender: subprocess.Popen[bytes] | None = None
        self._pipe: IO[bytes]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._sender is None:
            return
        if kind is None:
            self._tell(WorkerState.STOPPED)
        with contextlib.suppress(OSError):
            self._pipe.close()
        try:
            self._sender.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._sender.kill()
            self._sender.wait()

    def _run(self) -> None:
        self._status.ready.wait(START_WITHIN_S)
        while not self._stop.is_set():
            if self._sender is None or self._sender.poll() is not None:
                self._start()
            self._tell(self._status.state)
            self._stop.wait(INTERVAL_S)

    def _start(self) -> None:
        if self._sender is not None:
            log.warning("heartbeat_process_ended", exit_code=self._sender.returncode, action="starting it again")
            with contextlib.suppress(OSError):
                self._pipe.close()
        self._sender = subprocess.Popen(
            # Without the folder of the script among those that modules are imported from.
            [sys.executable, "-P", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=same_modules(),
        )
        assert self._sender.stdin is not None and self._sender.stdout is not None
        self._pipe = self._sender.stdin
        threading.Thread(
            target=self._tell_refused, args=(self._sender.stdout,), name="millstream-refused", daemon=True
        ).start()
        self._write(self._setup)

    def _tell_refused(self, refused: IO[bytes]) -> None:
        """Log why heartbeats are refused, from time to time, until the process ends."""
        told_at = float("-inf")
        topic, user = self._setup["topic"], str(self._setup["properties"].get("sasl.username", ""))
        with refused:
            for line in refused:
                if time.monotonic() - told_at >= TELL_INTERVAL_S:
                    told_at = time.monotonic()
                    reason = line.decode(errors="replace").strip()
                    log.error(
                        "heartbeats_refused",
                        topic=topic,
                        reason=no_right(user, "Write", f"topic {topic}") if is_denial(reason) else reason,
                        consequence="the worker is not seen, and its death not noticed until its groups do",
                        see=RIGHTS,
                    )

    def _tell(self, state: WorkerState) -> None:
        heartbeat = self._heartbeat(state)
        data = self._codec.encode(heartbeat)
        # The moment is its third field, after two texts.
        texts = (heartbeat.worker_id.encode(), heartbeat.transactional_id.encode())
        at = HEADER.size + sum(len(long(len(text))) + len(text) for text in texts)
        after = at + len(long(microseconds(heartbeat.occurred_at)))
        self._write(tuple(HeartbeatParts(state.value, self._status.retains_as, data[:at], data[after:])))

    def _write(self, told: object) -> None:
        try:
            pickle.dump(told, self._pipe)
            self._pipe.flush()
        except OSError as error:
            # The process is started again, and the next heartbeat carries everything that this one would have.
            log.warning("heartbeat_not_sent", reason=str(error))

    def _heartbeat(self, state: WorkerState) -> Heartbeat:
        load, host = self._status.load, self._host
        host.sample()
        running = load.running_now() if load else []
        # An execution is in its slot a moment before it notes its start.
        started = sorted(
            ((each.started_at, each) for each in running if each.started_at is not None), key=itemgetter(0)
        )
        return Heartbeat.model_validate(
            self._constant
            | {
                "state": state,
                "capacity": load.capacity if load else 0,
                "busy": len(running),
                "queued": load.waiting if load else 0,
                "in_flight": [
                    InFlight(job_id=each.job_id, attempt=each.read.request.attempt, since=since)
                    for since, each in started[:MOST_IN_FLIGHT]
                ],
                "cpu_percent": host.cpu_percent,
                "rss_bytes": host.rss_bytes,
                "memory_limit_bytes": host.memory_limit_bytes,
                "cpu_limit": host.cpu_limit,
            }
        )
