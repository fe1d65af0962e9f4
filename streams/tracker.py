"""The tracker: reads every event and keeps each job's state in a table; finished jobs are evicted after a retention.

A batch is read, each job in it gets one table write, and the batch is acknowledged only when Kafka has acknowledged
every write: a tracker that is killed reads again what it had not written, and applying an event twice changes nothing.
"""

import asyncio
import io
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import structlog

from millstream.schemas import Codec, DecodeError, EventKind, JobEvent, JobState, State
from millstream.schemas.codec import HEADER, reader_schema, schema_id_of
from millstream.streams.lifecycle import apply

log = structlog.get_logger(__name__)

EVICTION_BATCH = 1_000


class Tracker:
    """The table's contents and counters. One event loop owns it."""

    def __init__(self, table: Any, codec: Codec, retention_s: float) -> None:
        self.recovered = False
        self.events = 0
        self.unreadable = 0
        self.duplicate_outcomes = 0
        self.by_state: Counter[State] = Counter()
        self._table = table
        self._codec = codec
        self._retention = timedelta(seconds=retention_s)
        self._states: dict[str, JobState] = {}
        self._event_id = codec.registry.id_of("JobEvent")
        self._event_schema = reader_schema("JobEvent")

    def state(self, job_id: str) -> JobState | None:
        return self._states.get(job_id)

    @property
    def jobs(self) -> int:
        """How many states are kept."""
        return len(self._states)

    async def apply_batch(self, messages: Iterable[Any]) -> None:
        """Apply a batch of records; returns when Kafka has acknowledged every change of the table."""
        by_job: dict[str, list[JobEvent]] = {}
        for message in messages:
            self.events += 1
            event = self._read(message)
            if event is not None:
                by_job.setdefault(event.job_id, []).append(event)
        writes = []
        for job_id, events in by_job.items():
            before = self._states.get(job_id)
            state, findings = apply(before, events)
            for finding in findings:
                self.duplicate_outcomes += finding.kind == "duplicate_outcome"
                log.error(finding.kind, job_id=finding.job_id, detail=finding.detail)
            if state != before:
                self._replace(job_id, state)
                writes.append(self._write(job_id, self._codec.encode(state)))
        await asyncio.gather(*writes)

    def restore(self, owned: Iterable[tuple[bytes, bytes]]) -> None:
        """Load the table's contents after it was recovered from its changelog."""
        self._states.clear()
        self.by_state.clear()
        for key, value in owned:
            try:
                self._replace(key.decode(), self._codec.decode(value, JobState))
            except (DecodeError, UnicodeDecodeError) as error:
                self.unreadable += 1
                log.error("state_unreadable", key=repr(key), reason=str(error))
        self.recovered = True

    async def evict(self) -> int:
        """Delete the states of jobs that finished longer ago than the retention. Returns how many."""
        before = datetime.now(UTC) - self._retention
        old = [
            job_id
            for job_id, state in self._states.items()
            if state.finished_at is not None and state.finished_at < before
        ][:EVICTION_BATCH]
        for job_id in old:
            self.by_state[self._states.pop(job_id).state] -= 1
        await asyncio.gather(*(self._write(job_id, None) for job_id in old))
        return len(old)

    def _replace(self, job_id: str, state: JobState) -> None:
        before = self._states.get(job_id)
        if before is not None:
            self.by_state[before.state] -= 1
        self.by_state[state.state] += 1
        self._states[job_id] = state

    def _write(self, job_id: str, value: bytes | None) -> Any:
        """Change the table and send the change to its changelog; awaiting the answer waits for Kafka.

        Faust's own `table[key] = value` sends it too, but does not return the acknowledgement.
        """
        key = job_id.encode()
        if value is None:
            self._table.data.pop(key, None)
        else:
            self._table.data[key] = value
        return self._table.send_changelog(None, key, value)

    def _read(self, message: Any) -> JobEvent | None:
        try:
            return self._decode(message.value)
        except DecodeError as error:
            self.unreadable += 1
            where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
            log.error("event_unreadable", **where, reason=str(error))
            return None

    def _decode(self, data: bytes | None) -> JobEvent:
        """An event without pydantic's validation, which costs more than decoding it: Millstream's workers wrote it."""
        if schema_id_of(data) != self._event_id:
            return self._codec.decode(data, JobEvent)
        body = io.BytesIO(data or b"")
        body.seek(HEADER.size)
        try:
            datum: Any = fastavro.schemaless_reader(body, self._event_schema)
        except Exception as error:
            raise DecodeError(f"{type(error).__name__} at byte {body.tell()}: {error}") from error
        datum["kind"] = EventKind(datum["kind"])
        return JobEvent.model_construct(**datum)
