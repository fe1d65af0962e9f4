"""The tracker: reads every event and keeps each job's state in a table; finished jobs are evicted after a retention.

A batch is read, each job in it gets one table write, and the batch is acknowledged only when Kafka has acknowledged
every write: a tracker that is killed reads again what it had not written, and applying an event twice changes nothing.

A state is kept as the bytes of its record, which take a tenth of an object's memory, and decoded when it is needed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from millstream.line_rate import LineRate
from millstream.redaction import Redaction
from millstream.schemas import Codec, DecodeError, JobState, NewerSchema, RegistryUnavailable, State
from millstream.streams.event_reader import Event, EventReader, EventRejected
from millstream.streams.finished_jobs import FinishedJobs
from millstream.streams.lifecycle import Fields, apply, further
from millstream.streams.state_codec import StateCodec
from millstream.streams.state_table import Change, StateTable

log = structlog.get_logger(__name__)

TURN = 500
"""States that are evicted or restored at once; then the event loop has its turn."""

LINES_S = 10.0
"""Seconds between two lines of one kind about records: each record of a tenant could cause one."""

NEWER_LINES_S = 60.0
"""Seconds between two lines that say that the tracker must be upgraded."""

REGISTRY_RETRY_S = 1.0
"""Seconds between two questions to a Schema Registry that does not answer."""

_LOG_APPEND_TIME = 1


class Placement(Protocol):
    """Where the states of jobs belong."""

    def partition(self, key: bytes) -> int:
        """The partition of a key, among those that `jobs.states` has now."""

    def owned(self) -> set[int]:
        """The partitions that this tracker owns."""


class Tracker:
    """The table's contents and counters. One event loop owns it.

    `newer`: by partition, the offset of the first event that a newer release wrote. A tracker of that release reads it
    again, and everything behind it in its partition, which is applied here but not to be acknowledged.
    `newer_event`: where the first of them is; empty without one.
    `awaits_schema`: it waits at an event until the Schema Registry, or the topic of commands, tells its schema.
    """

    def __init__(
        self,
        table: StateTable,
        placement: Placement,
        codec: Codec,
        retention_s: float,
        redaction: Redaction | None = None,
    ) -> None:
        self.recovered = False
        self.events = 0
        self.unreadable = 0
        self.rejected = 0
        self.duplicate_outcomes = 0
        self.reused_attempts = 0
        self.offset_resets = 0
        self.newer_event = ""
        self.awaits_schema = False
        self.newer: dict[int, int] = {}
        self.by_state: Counter[State] = Counter()
        self._table = table
        self._placement = placement
        self._retention_us = int(retention_s * 1e6)
        self._finished = FinishedJobs()
        self._missing: dict[tuple[str, int], int] = {}
        self._reader = EventReader(codec, redaction)
        self._codec = StateCodec(codec)
        self._lines = LineRate(LINES_S)
        self._newer_lines = LineRate(NEWER_LINES_S)

    def state(self, job_id: str) -> JobState | None:
        value = self._table.states.data.get(job_id.encode())
        return None if value is None else self._codec.model(value)

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
        return len(self._table.states.data)

    async def apply_batch(self, messages: Iterable[Any]) -> None:
        """Apply a batch of records; returns when Kafka has acknowledged every change of the table.

        What is no event is counted and left out. An event of a newer release is noted in `newer`.
        """
        by_job: dict[str, list[Event]] = {}
        partitions: dict[str, int] = {}
        left = list(messages)
        self.events += len(left)
        while True:
            left = [message for message in left if not self._read(message, by_job, partitions)]
            self.awaits_schema = bool(left)
            if not left:
                break
            await asyncio.sleep(REGISTRY_RETRY_S)
        owned = self._placement.owned()
        writes = [
            write
            for job_id, events in by_job.items()
            if (write := self._apply(job_id, events, partitions[job_id], owned)) is not None
        ]
        await self._table.write_changes(writes)

    def holds(self, message: Any) -> bool:
        """Whether the record must not be acknowledged, because a tracker of a newer release has to read it."""
        first = self.newer.get(message.partition)
        return first is not None and bool(message.offset >= first)

    def report_newer(self) -> None:
        """Log once a minute that a tracker of a newer release is needed."""
        if self.newer_event and self._newer_lines.admit("event_of_newer_release") is not None:
            log.error(
                "event_of_newer_release",
                where=self.newer_event,
                partitions=sorted(self.newer),
                action="upgrade the tracker; it reads these partitions again from there",
            )

    async def restore(self) -> None:
        """Load the table's contents after it was recovered from its changelog; returns when Kafka has acknowledged what
        had to be moved."""
        self.recovered = False
        self.newer, self.newer_event = {}, ""
        self._finished.clear()
        self.by_state.clear()
        store, owned, moves = self._table.states, self._placement.owned(), list[Change]()
        for number, (key, records) in enumerate(list(store.records())):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            belongs = self._placement.partition(key)
            if belongs not in owned:
                # Its tracker has what came later. What is here stays until a tracker owns both partitions.
                store.forget(key)
                continue
            found = await self._furthest(key, records.values())
            if found is None:
                store.forget(key)
                continue
            state, value = found
            self._count(None, state)
            store.keep(key, value)
            misplaced = records.keys() - {belongs, None}
            if misplaced:
                moves.append((belongs, key, value))
                moves += [(partition, key, None) for partition in misplaced if partition is not None]
        if moves:
            await self._table.write_changes(moves)
            log.info("states_moved", records=len(moves), reason="jobs.states has more partitions")
        self.recovered = True
        log.info("tracker_ready", jobs=self.jobs)

    async def evict(self) -> int:
        """Delete the states of jobs that finished longer ago than the retention. Returns how many."""
        before, evicted = _now() - self._retention_us, 0
        while due := self._finished.remove_older(before, TURN):
            owned, writes = self._placement.owned(), list[Change]()
            for finished_at, job_id in due:
                value = self._table.states.data.get(job_id.encode())
                state = None if value is None else self._codec.decode(value)
                if state is not None and state["finished_at"] == finished_at:
                    self.by_state[state["state"]] -= 1
                    writes.append(self._change(job_id, None, None, owned))
            evicted += len(writes)
            await self._table.write_changes(writes)
            await asyncio.sleep(0)
        return evicted

    def _apply(self, job_id: str, events: list[Event], partition: int, owned: set[int]) -> Change | None:
        """Apply the events of one job. Returns what is to be written; None when nothing changed."""
        value = self._table.states.data.get(job_id.encode())
        try:
            before = None if value is None else self._codec.decode(value)
            state, findings = apply(before, events)
            changed = self._codec.encode(state)
        except Exception as error:
            # Whatever a job's events hold, the events of others are applied.
            self.rejected += len(events)
            self._report("events_not_applied", job_id=job_id, reason=type(error).__name__)
            return None
        for finding in findings:
            self.duplicate_outcomes += finding.kind == "duplicate_outcome"
            self.reused_attempts += finding.kind == "reused_attempt"
            self._report(finding.kind, job_id=finding.job_id, detail=finding.detail)
        if changed == value:
            return None
        self._count(before, state)
        return self._change(job_id, changed, partition, owned)

    async def _furthest(self, key: bytes, values: Iterable[bytes]) -> tuple[Fields, bytes] | None:
        """The record of a key that shows the most of its job's life, as fields and as bytes."""
        found: tuple[Fields, bytes] | None = None
        for value in values:
            try:
                state, bounded = await self._take_in(key, value)
            except DecodeError as error:
                self.unreadable += 1
                self._report("state_unreadable", key=repr(key)[:80], reason=str(error))
                continue
            if found is None or further(state, found[0]) is state:
                found = state, bounded
        return found

    async def _take_in(self, key: bytes, value: bytes) -> tuple[Fields, bytes]:
        while True:
            try:
                return self._codec.take_in(key, value, _now())
            except RegistryUnavailable as error:
                self._report("registry_unavailable", reason=str(error), action="asks again")
                await asyncio.sleep(REGISTRY_RETRY_S)

    def _count(self, before: Fields | None, state: Fields) -> None:
        if before is not None:
            self.by_state[before["state"]] -= 1
        self.by_state[state["state"]] += 1
        finished_at = state["finished_at"]
        if finished_at is not None and (before is None or before["finished_at"] != finished_at):
            self._finished.add(finished_at, state["job_id"])

    def _change(self, job_id: str, value: bytes | None, read_from: int | None, owned: set[int]) -> Change:
        """Change the table, and return what to write to its changelog.

        The state goes to the partition of its key. Only when another tracker owns that, as of an event that was written
        before its writer knew the new partitions, it goes to the one of its event, so that each partition is written by
        its owner.
        """
        key = job_id.encode()
        belongs = self._placement.partition(key)
        partition = belongs if read_from is None or belongs in owned else read_from
        if value is None:
            self._table.states.forget(key)
        else:
            self._table.states.data[key] = value
        return partition, key, value

    def _read(self, message: Any, by_job: dict[str, list[Event]], partitions: dict[str, int]) -> bool:
        """Add the message's event to those of its job. Returns whether nothing is left to do for it: False when the
        Schema Registry must be asked again."""
        try:
            event = self._reader.read(message.value, _appended_at(message))
        except RegistryUnavailable as error:
            self._report("registry_unavailable", reason=str(error), action="asks again")
            return False
        except EventRejected as error:
            self.rejected += 1
            self._report("event_rejected", **_where(message), reason=str(error))
        except DecodeError as error:
            if isinstance(error.__cause__, NewerSchema):
                self._note_newer(message, str(error))
            else:
                self.unreadable += 1
                self._report("event_unreadable", **_where(message), reason=str(error))
        else:
            by_job.setdefault(event.job_id, []).append(event)
            partitions[event.job_id] = message.partition
        return True

    def _note_newer(self, message: Any, reason: str) -> None:
        self.newer.setdefault(message.partition, message.offset)
        self.newer_event = self.newer_event or f"{message.topic}[{message.partition}] {message.offset}: {reason}"
        self.report_newer()

    def _report(self, kind: str, **fields: Any) -> None:
        left_out = self._lines.admit(kind)
        if left_out is not None:
            log.error(kind, **fields, left_out=left_out)


def _where(message: Any) -> dict[str, Any]:
    return {"topic": message.topic, "partition": message.partition, "offset": message.offset}


def _appended_at(message: Any) -> int:
    """When the broker appended the record, in microseconds since 1970. A topic that keeps its writers' times does not
    say: then now."""
    if message.timestamp_type == _LOG_APPEND_TIME:
        return int(message.timestamp * 1e6)
    return _now()


def _now() -> int:
    return time.time_ns() // 1_000
