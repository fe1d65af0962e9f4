"""Reading a topic the way an outsider does, for tests that count."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TypeVar

from confluent_kafka import Consumer, TopicPartition

from millstream.schemas import OUTCOMES, Codec, DecodeError, EventKind, JobEvent, KafkaConnection, Record
from tests.support.waiting import eventually

R = TypeVar("R", bound=Record)


class TopicReader:
    """An independent read_committed reader of a whole topic, from its first record on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer(KafkaConnection(bootstrap).consumer("reader"))
        self._topic = topic
        self._partitions: set[int] = set()
        self.find_partitions()
        self.values: list[bytes] = []
        self.keys: list[bytes | None] = []

    def find_partitions(self) -> None:
        """Read the partitions that were added since, too."""

        def partitions() -> set[int]:
            # A node of a cluster that has just heard of a topic lists it without partitions.
            return set(self._consumer.list_topics(self._topic, 10).topics[self._topic].partitions)

        found = eventually(partitions, bool)
        self._consumer.incremental_assign([TopicPartition(self._topic, each, 0) for each in found - self._partitions])
        self._partitions |= found

    def read(self, seconds: float = 0.2) -> None:
        """Add what has arrived, waiting at most so long for the first."""
        for message in self._consumer.consume(10_000, seconds):
            assert message.error() is None, message.error()
            self.values.append(message.value() or b"")
            self.keys.append(message.key())

    def until(self, enough: Callable[[], bool], within_s: float = 120) -> None:
        """Read until `enough`, and fail when it takes longer than a very long time."""
        deadline = time.monotonic() + within_s
        while not enough():
            assert time.monotonic() < deadline, f"not enough after {within_s} s: {len(self.values)} records"
            self.read()

    def decoded(self, model: type[R]) -> list[R]:
        codec = Codec()
        return [codec.decode(value, model) for value in self.values]

    def close(self) -> None:
        self._consumer.close()


class EventLog:
    """What `jobs.events` says: the events of each job and the outcomes of each attempt. `tenants`: those whose events
    count, where others write what they like; all when None, and then every record must be readable."""

    def __init__(self, bootstrap: str, topic: str, tenants: Collection[str] | None = None) -> None:
        self._reader = TopicReader(bootstrap, topic)
        self._codec = Codec()
        self._tenants = tenants
        self._decoded = 0
        self.events: list[JobEvent] = []
        self.outcomes: Counter[tuple[str, int]] = Counter()
        self.finished: set[str] = set()
        self.started: Counter[str] = Counter()

    def read(self, seconds: float = 0.2) -> None:
        self._reader.read(seconds)
        for value in self._reader.values[self._decoded :]:
            event = self._decode(value)
            if event is None:
                continue
            self.events.append(event)
            if event.kind in OUTCOMES:
                self.outcomes[event.job_id, event.attempt] += 1
                if event.final:
                    self.finished.add(event.job_id)
            elif event.kind is EventKind.STARTED:
                self.started[event.job_id] += 1
        self._decoded = len(self._reader.values)

    def _decode(self, value: bytes) -> JobEvent | None:
        if self._tenants is None:
            return self._codec.decode(value, JobEvent)
        with suppress(DecodeError):
            event = self._codec.decode(value, JobEvent)
            if event.tenant in self._tenants:
                return event
        return None

    @property
    def records(self) -> int:
        """How many records were read, whatever they are."""
        return len(self._reader.values)

    def find_partitions(self) -> None:
        """Read the partitions that were added since, too."""
        self._reader.find_partitions()

    def until_finished(self, job_ids: list[str], within_s: float = 90) -> None:
        """Read until every one of these jobs has its final outcome."""
        wanted, deadline = set(job_ids), time.monotonic() + within_s
        while not wanted <= self.finished:
            assert time.monotonic() < deadline, f"{len(wanted - self.finished)} of {len(wanted)} jobs never ended"
            self.read()

    @property
    def starts(self) -> list[JobEvent]:
        """The starts of all attempts in the order of time; reading goes partition by partition."""
        starts = [event for event in self.events if event.kind is EventKind.STARTED]
        return sorted(starts, key=lambda event: event.occurred_at)

    def kinds_of(self, job_id: str) -> list[EventKind]:
        return [event.kind for event in self.events if event.job_id == job_id]

    def close(self) -> None:
        self._reader.close()
