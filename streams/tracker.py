"""The tracker: reads every event and keeps each job's state in a table; finished jobs are evicted after a retention.

A batch is read, each job in it gets one table write, and the batch is acknowledged only when Kafka has acknowledged
every write: a tracker that is killed reads again what it had not written, and applying an event twice changes nothing.
"""

import asyncio
import io
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import fastavro
import structlog

from millstream.schemas import Codec, DecodeError, EventKind, JobEvent, JobState, NewerSchema, State
from millstream.schemas.codec import HEADER, reader_schema, schema_id_of
from millstream.streams.finished_jobs import FinishedJobs
from millstream.streams.lifecycle import apply, further
from millstream.streams.state_table import StateTable

log = structlog.get_logger(__name__)

TURN = 500
"""States that are evicted or restored at once; then the event loop has its turn."""


class Placement(Protocol):
    """Where the states of jobs belong."""

    def partition(self, key: bytes) -> int:
        """The partition of a key, among those that `jobs.states` has now."""

    def owned(self) -> set[int]:
        """The partitions that this tracker owns."""


class Tracker:
    """The table's contents and counters. One event loop owns it.

    `newer_event`: where the tracker has stopped, because a newer release wrote the event there; empty while it reads.
    """

    def __init__(self, table: StateTable, placement: Placement, codec: Codec, retention_s: float) -> None:
        self.recovered = False
        self.events = 0
        self.unreadable = 0
        self.duplicate_outcomes = 0
        self.reused_attempts = 0
        self.offset_resets = 0
        self.newer_event = ""
        self.by_state: Counter[State] = Counter()
        self._table = table
        self._placement = placement
        self._codec = codec
        self._retention = timedelta(seconds=retention_s)
        self._states: dict[str, JobState] = {}
        self._finished = FinishedJobs()
        self._missing: dict[tuple[str, int], int] = {}
        self._event_id = codec.registry.id_of("JobEvent")
        self._event_schema = reader_schema("JobEvent")

    def state(self, job_id: str) -> JobState | None:
        return self._states.get(job_id)

    def owns(self, job_id: str) -> bool:
        """Whether the state of this job belongs to a partition of this tracker."""
        return self._placement.partition(job_id.encode()) in self._placement.owned()

    def offset_reset(self, topic: str, partition: int, offset: int) -> None:
        """Note that a record to read next does not exist any more: the tracker goes on at the first that does, and what
        was between is lost to it. Until that is committed, each rebalance reports the same offset again: it counts
        once."""
        if self._missing.get((topic, partition)) == offset:
            return
        self._missing[topic, partition] = offset
        self.offset_resets += 1
        log.error("offset_out_of_range", topic=topic, partition=partition, offset=offset, action="reads from the first")

    @property
    def jobs(self) -> int:
        """How many states are kept."""
        return len(self._states)

    async def apply_batch(self, messages: Iterable[Any]) -> None:
        """Apply a batch of records; returns when Kafka has acknowledged every change of the table.

        An event of a newer release is not applied and sets `newer_event`: the batch must then be read again by a
        tracker that can read it.
        """
        by_job: dict[str, list[JobEvent]] = {}
        partitions: dict[str, int] = {}
        for message in messages:
            self.events += 1
            event = self._read(message)
            if event is not None:
                by_job.setdefault(event.job_id, []).append(event)
                partitions[event.job_id] = message.partition
        writes = []
        owned = self._placement.owned()
        for job_id, events in by_job.items():
            before = self._states.get(job_id)
            state, findings = apply(before, events)
            for finding in findings:
                self.duplicate_outcomes += finding.kind == "duplicate_outcome"
                self.reused_attempts += finding.kind == "reused_attempt"
                log.error(finding.kind, job_id=finding.job_id, detail=finding.detail)
            if state != before:
                self._replace(job_id, state)
                writes.append(self._write(job_id, self._codec.encode(state), partitions[job_id], owned))
        await asyncio.gather(*writes)

    async def restore(self) -> None:
        """Load the table's contents after it was recovered from its changelog; returns when Kafka has acknowledged what
        had to be moved."""
        self.recovered = False
        self._states.clear()
        self._finished.clear()
        self.by_state.clear()
        store, owned, moves = self._table.states, self._placement.owned(), []
        for number, (key, records) in enumerate(list(store.records())):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            belongs = self._placement.partition(key)
            if belongs not in owned:
                # Its tracker has what came later. What is here stays until a tracker owns both partitions.
                store.forget(key)
                continue
            found = self._furthest(key, records.values())
            if found is None:
                continue
            state, value = found
            self._replace(state.job_id, state)
            store.keep(key, value)
            misplaced = records.keys() - {belongs, None}
            if misplaced:
                moves.append(self._table.send_changelog(belongs, key, value))
                moves += [self._table.send_changelog(partition, key, None) for partition in misplaced]
        if moves:
            await asyncio.gather(*moves)
            log.info("states_moved", records=len(moves), reason="jobs.states has more partitions")
        self.recovered = True

    async def evict(self) -> int:
        """Delete the states of jobs that finished longer ago than the retention. Returns how many."""
        before, evicted = datetime.now(UTC) - self._retention, 0
        while due := self._finished.remove_older(before, TURN):
            owned, writes = self._placement.owned(), []
            for finished_at, job_id in due:
                state = self._states.get(job_id)
                if state is not None and state.finished_at == finished_at:
                    self.by_state[self._states.pop(job_id).state] -= 1
                    writes.append(self._write(job_id, None, None, owned))
            evicted += len(writes)
            await asyncio.gather(*writes)
        return evicted

    def _furthest(self, key: bytes, values: Iterable[bytes]) -> tuple[JobState, bytes] | None:
        """The record of a key that shows the most of its job's life, decoded and as bytes."""
        found: tuple[JobState, bytes] | None = None
        for value in values:
            try:
                state = self._codec.decode(value, JobState)
            except (DecodeError, UnicodeDecodeError) as error:
                self.unreadable += 1
                log.error("state_unreadable", key=repr(key), reason=str(error))
                continue
            if found is None or further(state, found[0]) is state:
                found = state, value
        return found

    def _replace(self, job_id: str, state: JobState) -> None:
        before = self._states.get(job_id)
        if before is not None:
            self.by_state[before.state] -= 1
        self.by_state[state.state] += 1
        self._states[job_id] = state
        if state.finished_at is not None and (before is None or before.finished_at != state.finished_at):
            self._finished.add(state.finished_at, job_id)

    def _write(self, job_id: str, value: bytes | None, read_from: int | None, owned: set[int]) -> Any:
        """Change the table and send the change to its changelog; awaiting the answer waits for Kafka.

        Faust's own `table[key] = value` sends it too, but does not return the acknowledgement. The state goes to the
        partition of its key. Only when another tracker owns that, as of an event that was written before its writer
        knew the new partitions, it goes to the one of its event, so that each partition is written by its owner.
        """
        key = job_id.encode()
        belongs = self._placement.partition(key)
        partition = belongs if read_from is None or belongs in owned else read_from
        if value is None:
            self._table.states.forget(key)
        else:
            self._table.states.data[key] = value
        return self._table.send_changelog(partition, key, value)

    def _read(self, message: Any) -> JobEvent | None:
        where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
        try:
            return self._decode(message.value)
        except DecodeError as error:
            if isinstance(error.__cause__, NewerSchema):
                where_text = f"{message.topic}[{message.partition}] {message.offset}"
                self.newer_event = self.newer_event or f"{where_text}: {error}"
                return None
            self.unreadable += 1
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
