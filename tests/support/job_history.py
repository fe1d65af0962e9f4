"""A past written straight into ClickHouse: jobs at chosen times with chosen fates, for tests of root cause analysis."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from clickhouse_connect.driver.client import Client

from millstream.schemas import OUTCOMES, EventKind, JobEvent
from millstream.schemas.ids import new_id

COLUMNS = [*JobEvent.model_fields, "kafka_partition", "kafka_offset"]


@dataclass(frozen=True)
class Attempt:
    """One attempt of a job, submitted at `at`. `error` is (type, message); with one the attempt has failed."""

    at: datetime
    tenant: str = "acme"
    job_type: str = "reports.render"
    lane: str = "default"
    host: str = "host-1"
    worker_id: str = "worker-1"
    worker_version: str = "1.4.1"
    region: str = "eu-central-1"
    wait_ms: float = 20.0
    run_ms: float = 100.0
    error: tuple[str, str] | None = None
    job_id: str = ""
    attempt: int = 1
    final: bool = True
    partition: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> EventKind:
        return EventKind.FAILED if self.error else EventKind.SUCCEEDED


class History:
    """Attempts are added, then written at once as events, as workers would have."""

    def __init__(self, seed: int = 1) -> None:
        self.draw = random.Random(seed)
        self._events: list[JobEvent] = []

    def add(self, attempt: Attempt) -> str:
        """The events of one attempt; returns the job's id."""
        job_id = attempt.job_id or new_id()
        started = attempt.at + timedelta(milliseconds=attempt.wait_ms)
        finished = started + timedelta(milliseconds=attempt.run_ms)
        job: dict[str, Any] = {
            "job_id": job_id, "tenant": attempt.tenant, "job_type": attempt.job_type, "lane": attempt.lane,
            "submitted_at": attempt.at, "labels": attempt.labels,
        }  # fmt: skip
        run = job | {
            "attempt": attempt.attempt, "execution_id": new_id(), "worker_id": attempt.worker_id,
            "host": attempt.host, "region": attempt.region, "instance_type": "m5.large",
            "worker_version": attempt.worker_version, "request_partition": attempt.partition, "request_offset": 1,
            "started_at": started, "wait_ms": attempt.wait_ms,
        }  # fmt: skip
        error = dict(zip(("error_type", "error_message"), attempt.error or ("", ""), strict=True))
        self._events += [
            JobEvent(**job, kind=EventKind.SUBMITTED, occurred_at=attempt.at),
            JobEvent(**run, kind=EventKind.STARTED, occurred_at=started),
            JobEvent(
                **run, **error, kind=attempt.outcome, occurred_at=finished, final=attempt.final,
                run_ms=attempt.run_ms, cpu_ms=attempt.run_ms / 2, max_rss_bytes=50_000_000,
            ),
        ]  # fmt: skip
        if not attempt.final:
            due = finished + timedelta(seconds=1)
            self._events.append(JobEvent(**run, kind=EventKind.RETRY_SCHEDULED, occurred_at=finished, due_at=due))
        return job_id

    def steady(self, start: datetime, end: datetime, a_minute: float, like: Attempt, failing: float = 0.0) -> list[str]:
        """Attempts like `like` at random times of [start, end); a share `failing` of them fails. Returns their ids."""
        minutes = (end - start) / timedelta(minutes=1)
        count = round(minutes * a_minute)
        fault = like.error or ("ConnectionError", "connection reset by peer")
        return [
            self.add(
                replace(
                    like,
                    at=start + timedelta(minutes=self.draw.random() * minutes),
                    wait_ms=like.wait_ms * self.draw.lognormvariate(0, 0.3),
                    run_ms=like.run_ms * self.draw.lognormvariate(0, 0.3),
                    error=fault if self.draw.random() < failing else None,
                )
            )
            for _ in range(count)
        ]

    def write(self, client: Client) -> int:
        """Insert what was added; returns the number of outcomes."""
        rows = [
            [*(getattr(event, name) for name in JobEvent.model_fields), 0, number]
            for number, event in enumerate(self._events)
        ]
        for row in rows:
            row[COLUMNS.index("kind")] = row[COLUMNS.index("kind")].value
        client.insert("job_events", rows, column_names=COLUMNS)
        outcomes = sum(event.kind in OUTCOMES for event in self._events)
        self._events = []
        return outcomes


def change(client: Client, at: datetime, version: str, kind: str = "deploy", **labels: str) -> None:
    """A row of `changes`."""
    columns = ["change_id", "occurred_at", "kind", "service", "version", "author", "summary", "labels"]
    row = [new_id(), at, kind, "workers", version, "ci", f"release {version}", labels]
    client.insert("changes", [row], column_names=columns)
