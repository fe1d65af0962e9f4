"""Sends a worker's heartbeat once a second, from a thread that runs no job."""

import threading
from operator import itemgetter
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import KafkaException, Producer

from millstream.consumers.worker.config import WorkerConfig
from millstream.consumers.worker.monitoring.host import HostGauge
from millstream.consumers.worker.status import WorkerStatus
from millstream.schemas import Codec, Heartbeat, InFlight, KafkaConnection, WorkerState

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0
MOST_IN_FLIGHT = 100
"""Running attempts that a heartbeat lists at most, the oldest first."""


class HeartbeatSender:
    """Sends a `Heartbeat` every second from entering to leaving; the last one has the state `stopped`."""

    def __init__(
        self,
        connection: KafkaConnection,
        topic: str,
        codec: Codec,
        config: WorkerConfig,
        transactional_id: str,
        lanes: list[str],
        status: WorkerStatus,
        host: HostGauge,
    ) -> None:
        self._topic = topic
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
            lanes=lanes,
            interval_s=INTERVAL_S,
        ).model_dump(exclude={"occurred_at"})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millstream-heartbeat", daemon=True)
        self._producer = Producer(
            connection.producer(linger_ms=0, message_timeout_ms=5_000, client_id=config.worker_id)
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5)
        if kind is None:
            self._send(WorkerState.STOPPED)
        self._producer.flush(3)

    def _run(self) -> None:
        while True:
            self._send(self._status.state)
            if self._stop.wait(INTERVAL_S):
                return

    def _send(self, state: WorkerState) -> None:
        heartbeat = self._heartbeat(state)
        try:
            self._producer.produce(self._topic, self._codec.encode(heartbeat), heartbeat.worker_id.encode())
            self._producer.poll(0)
        except (BufferError, KafkaException) as error:
            # The next heartbeat carries everything that this one would have.
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
