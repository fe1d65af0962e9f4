"""A worker, a sink and a tracker on the secured broker, each with the rights of the documentation, and the count of
what they did with the jobs of a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from aiokafka.partitioner import murmur2
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from millstream.consumers.sink.sources import BY_TABLE
from millstream.local.process import ChildProcess
from millstream.producers import JobClient, NewJob
from millstream.rights.table import Right
from millstream.schemas import (
    Alert,
    Change,
    Codec,
    JobRequest,
    Record,
)
from millstream.schemas.alert import AlertKind
from millstream.schemas.change import ChangeKind
from millstream.schemas.ids import new_id
from tests.support.eventlog import EventLog
from tests.support.installation import Installation
from tests.support.service_log import ServiceLog
from tests.support.waiting import eventually

TENANTS = ("small", "flood")
READY = "ready"
READY_WITHIN_S = 120.0
PARTITION_UA = -1
"""A partition that follows from the key."""

NOT_LET_IN = 6
"""Exit code of a service that Kafka refuses a right."""

LITTLE_ROOM = {
    "MILLSTREAM_WORKER__ADMISSION_JOBS": "100",
    "MILLSTREAM_WORKER__LIMIT": "fixed",
    "MILLSTREAM_WORKER__CONCURRENCY": "10",
    "MILLSTREAM_WORKER__OVERFLOW_AFTER_MS": "20",
}
"""Settings of a worker that a flood of jobs fills at once."""


class SecuredService:
    """A service that is started again when it has ended, as its supervisor does. `lacked`: the rights that were last
    taken from it."""

    def __init__(
        self,
        installation: Installation,
        role: str,
        command: tuple[str, ...],
        is_ready: Callable[["SecuredService"], bool],
        settings: dict[str, str],
    ) -> None:
        self.role = role
        self.log = ServiceLog()
        self.started_at = 0
        self.lacked: list[Right] = []
        self._installation, self._command, self._settings = installation, command, settings
        self._is_ready = is_ready
        self.process: ChildProcess | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def start(self) -> None:
        """Returns at once."""
        self.started_at = self.log.mark
        self.process = self._installation.service(self.role, *self._command, on_line=self.log.add, **self._settings)
        self.process.start()

    def ensure(self) -> None:
        """Returns when it is ready, and has been started if it did not run."""
        if not self.alive:
            self.start()
        eventually(self._state, lambda state: state == READY, READY_WITHIN_S)

    def stop(self) -> None:
        if self.process is not None and self.process.is_alive():
            assert self.process.stop(60) == 0, self.process.tail

    def ended(self) -> tuple[int, str]:
        """The exit code of a service that ends by itself, and what it has written last."""
        assert self.process is not None
        return self.process.wait(READY_WITHIN_S), self.process.tail

    def _state(self) -> str:
        """`READY`, or what it has written last."""
        assert self.process is not None
        assert self.process.is_alive(), self.process.tail
        return READY if self._is_ready(self) else self.process.tail


class SecuredServices:
    """All services, and the jobs that were submitted by anybody."""

    def __init__(self, installation: Installation, clickhouse: Client, clickhouse_url: str) -> None:
        self.installation = installation
        self.topics = installation.topics
        self.events = EventLog(installation.broker.unrestricted.bootstrap, self.topics.events, TENANTS)
        self.jobs = JobClient(installation.broker.unrestricted, self.topics)
        self.submitted: list[str] = []
        self._clickhouse = clickhouse
        self._codec = Codec()
        self._producer = Producer(installation.broker.unrestricted.producer())
        tables = {
            "MILLSTREAM_CLICKHOUSE__URL": clickhouse_url,
            "MILLSTREAM_CLICKHOUSE__DATABASE": str(clickhouse.database),
        }
        tracker_url = f"http://127.0.0.1:{installation.tracker_port}"
        self._tracker = httpx.Client(base_url=tracker_url, timeout=10)

        def tracker_is_ready(_: SecuredService) -> bool:
            return bool(self._ask_tracker("/health").get("ready"))

        self.worker = SecuredService(
            installation, "worker", ("worker", "handlers", "--name", "w"), _has("worker_ready", 1), LITTLE_ROOM
        )
        self.sink = SecuredService(installation, "sink", ("sink",), _has("partitions_assigned", len(BY_TABLE)), tables)
        self.tracker = SecuredService(installation, "tracker", ("tracker",), tracker_is_ready, {})
        self.by_role = {each.role: each for each in (self.worker, self.sink, self.tracker)}

    def submit(self, job_type: str = "t.add", count: int = 1, **fields: Any) -> list[str]:
        """Submit jobs with all rights."""
        ids = self.jobs.submit_many([NewJob(job_type, **{"tenant": "small", **fields}) for _ in range(count)])
        self.submitted += ids
        return ids

    def write_to_overflow(self, lane: str) -> str:
        """Put a job into the overflow topic of a lane, as a worker does."""
        request = JobRequest(tenant="small", job_type="t.add", lane=lane)
        self.write(self.topics.overflow(lane), request.job_id.encode(), self._codec.encode(request))
        self.submitted.append(request.job_id)
        return request.job_id

    def write_alert(self) -> str:
        alert = Alert(fingerprint=new_id(), kind=AlertKind.OTHER, opened_at=datetime.now(UTC))
        self._write_record(self.topics.alerts, alert.fingerprint, alert)
        return alert.fingerprint

    def write_change(self) -> str:
        change = Change(kind=ChangeKind.OTHER, service="s")
        self._write_record(self.topics.changes, change.service, change)
        return change.change_id

    def _write_record(self, topic: str, key: str, record: Record) -> None:
        self.write(topic, key.encode(), self._codec.encode(record))

    def write(self, topic: str, key: bytes, value: bytes, partition: int | None = None) -> None:
        """Write a record with all rights; returns when Kafka has it."""
        self._producer.produce(topic, value, key, partition=PARTITION_UA if partition is None else partition)
        assert not self._producer.flush(30)

    def partition_of(self, key: str, partitions: int = 2) -> int:
        """Where the records with this key are."""
        return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)

    def finished(self, job_ids: list[str]) -> set[str]:
        """Those of the jobs with a final outcome, as of the events so far."""
        self.events.read(0.1)
        return self.events.finished & set(job_ids)

    def stored(self, query: str, **parameters: object) -> int:
        """What a query of one number returns."""
        return int(self._clickhouse.query(query, parameters=parameters).result_rows[0][0])

    def rows_of(self, table: str, column: str, values: list[str]) -> int:
        return self.stored(f"SELECT count() FROM {table} WHERE {column} IN {{values:Array(String)}}", values=values)

    def settle(self) -> None:
        """Start what has ended, wait until every job that was ever submitted has ended, and count: an attempt has one
        outcome and was started once, an event has one row, and the tracker knows how each job ended."""
        for service in self.by_role.values():
            service.ensure()
        self.events.until_finished(self.submitted)
        self.events.read(0.3)
        assert set(self.events.outcomes.values()) <= {1}
        attempts = [job_id for job_id, _ in self.events.outcomes]
        assert sorted(self.events.started.elements()) == sorted(attempts)
        events = [each.event_id for each in self.events.events]
        distinct = "SELECT uniqExact(event_id) FROM job_events WHERE tenant IN ('small', 'flood')"
        eventually(lambda: self.stored(distinct), lambda rows: rows == len(set(events)))
        assert self.stored(distinct.replace("uniqExact(event_id)", "count()")) == len(events)
        eventually(self._ended_jobs, lambda ended: ended == len(self.events.finished))

    def _ended_jobs(self) -> int:
        states = self._ask_tracker("/counts").get("states", {})
        return sum(states.get(state, 0) for state in ("succeeded", "failed", "cancelled"))

    def _ask_tracker(self, path: str) -> dict[str, Any]:
        try:
            answer = self._tracker.get(path)
        except httpx.HTTPError:
            return {}
        found: dict[str, Any] = answer.json() if answer.status_code == httpx.codes.OK else {}
        return found

    def close(self) -> None:
        for service in self.by_role.values():
            if service.alive and service.process is not None:
                service.process.stop(30)
        self.jobs.close()
        self.events.close()


@contextmanager
def secured_services(installation: Installation, clickhouse: Client, clickhouse_url: str) -> Iterator[SecuredServices]:
    services = SecuredServices(installation, clickhouse, clickhouse_url)
    try:
        for each in services.by_role.values():
            each.start()
        services.settle()
        yield services
    finally:
        services.close()


def _has(text: str, times: int) -> Callable[[SecuredService], bool]:
    return lambda service: service.log.count(text, service.started_at) >= times
