"""A worker's sign of life, once a second, from a thread that no job can hold up."""

import threading
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog
from confluent_kafka import KafkaException, Producer

from millstream.schemas import Heartbeat, InFlight, WorkerState

if TYPE_CHECKING:
    from millstream.consumers.worker.worker import Worker

log = structlog.get_logger(__name__)

EVERY_S = 1.0
IN_FLIGHT_TOLD = 100


class HeartbeatSender:
    """Writes a `Heartbeat` each second from entering to leaving; the last one says that the worker stopped."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millstream-beats", daemon=True)
        self._producer = Producer(
            worker.connection.producer(linger_ms=0, message_timeout_ms=5_000, client_id=worker.config.worker_id)
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
            self._send(self._worker.state)
            if self._stop.wait(EVERY_S):
                return

    def _send(self, state: WorkerState) -> None:
        beat = self._beat(state)
        try:
            self._producer.produce(
                self._worker.topics.heartbeats, self._worker.codec.encode(beat), beat.worker_id.encode()
            )
            self._producer.poll(0)
        except (BufferError, KafkaException) as error:
            # The broker is away: the next beat tells everything that this one would have told.
            log.warning("a beat could not be sent", reason=str(error))

    def _beat(self, state: WorkerState) -> Heartbeat:
        worker, config, executor = self._worker, self._worker.config, self._worker.executor
        worker.host.look()
        running = executor.running_now() if executor else []
        # An execution is in the set a moment before it notes its start.
        begun = sorted(((each.started_at, each) for each in running if each.started_at is not None), key=itemgetter(0))
        return Heartbeat(
            worker_id=config.worker_id,
            transactional_id=worker.transactional_id,
            host=config.host,
            region=config.region,
            instance_type=config.instance_type,
            worker_version=config.version,
            lanes=worker.lanes,
            state=state,
            capacity=executor.capacity if executor else 0,
            busy=len(running),
            queued=executor.waiting if executor else 0,
            in_flight=[
                InFlight(job_id=each.job_id, attempt=each.read.request.attempt, since=since)
                for since, each in begun[:IN_FLIGHT_TOLD]
            ],
            cpu_percent=worker.host.cpu_percent,
            rss_bytes=worker.host.rss_bytes,
            memory_limit_bytes=worker.host.memory_limit_bytes,
            cpu_limit=worker.host.cpu_limit,
        )
