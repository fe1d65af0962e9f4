"""Extreme and damaged records on every topic, beside the jobs of tenants of good will: no service stops, and each
record is accounted for by every service that reads its topic."""

import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Message, Producer

from millstream.local.broker import Broker
from millstream.producers import NewJob, send_command
from millstream.schemas import (
    OUTCOMES,
    Action,
    Codec,
    Command,
    DeadLetter,
    DecodeError,
    JobEvent,
    JobRequest,
    KafkaConnection,
    Scope,
    TopicCatalogue,
)
from tests.support.eventlog import TopicReader
from tests.support.fleet import TENANTS, Fleet
from tests.support.guarantees import NoJobLost, OneOutcomePerAttempt, OrderPerKey
from tests.support.random_records import RandomRecords
from tests.support.scenarios import Scenario, assert_held, lengths
from tests.support.services import MemoryPeaks, Services
from tests.support.waiting import eventually

AT_ONCE = 1_000
WORKERS = 2
CODEC = Codec()

Place = tuple[str, int, int]
"""Topic, partition and offset."""


class Written:
    """The hostile records that Kafka has acknowledged: their places by topic, and the ids of the jobs in requests."""

    def __init__(self, bootstrap: str, topics: TopicCatalogue, seed: int, long_values: int) -> None:
        self.places: dict[str, set[Place]] = defaultdict(set)
        self.job_ids: dict[Place, str] = {}
        self.count = 0
        self._records = iter(RandomRecords(topics, seed, long_values=long_values))
        self._lanes = {name for lane in topics.lanes for name in (topics.lane(lane), topics.overflow(lane))}
        self._producer = Producer(KafkaConnection(bootstrap).producer(queue_buffering_max_kbytes=500_000))

    def write(self, count: int) -> None:
        """Write so many records, and wait until Kafka has them."""
        for record in islice(self._records, count):
            self._producer.produce(
                record.topic, record.value, record.key, headers=record.headers, on_delivery=self._delivered
            )
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        place = topic, partition, offset
        self.count += 1
        self.places[topic].add(place)
        if topic in self._lanes:
            try:
                self.job_ids[place] = CODEC.decode(message.value(), JobRequest).job_id
            except DecodeError:
                self.job_ids[place] = ""


def records_of(bootstrap: str, topic: str) -> list[bytes]:
    """Every committed record of a topic."""
    reader = TopicReader(bootstrap, topic)
    while True:
        before = len(reader.values)
        reader.read(2.0)
        if len(reader.values) == before:
            reader.close()
            return reader.values


def letters_of(bootstrap: str, topics: TopicCatalogue, senders: set[str]) -> list[DeadLetter]:
    """The dead letters that services wrote; others may have written more."""
    found = []
    for value in records_of(bootstrap, topics.dead):
        try:
            letter = CODEC.decode(value, DeadLetter)
        except DecodeError:
            continue
        if any(letter.worker_id.startswith(sender) for sender in senders):
            found.append(letter)
    return found


def ended_jobs(bootstrap: str, topics: TopicCatalogue) -> set[str]:
    """The jobs that a worker has ended, whoever their tenant is."""
    ended = set()
    for value in records_of(bootstrap, topics.events):
        try:
            event = CODEC.decode(value, JobEvent)
        except DecodeError:
            continue
        if event.kind in OUTCOMES and event.final and event.worker_id.startswith(topics.prefix):
            ended.add(event.job_id)
    return ended


@pytest.fixture
def fleet(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> Fleet:
    # A job of a type that was made up by chance would wait ten minutes for a worker that knows it.
    grace = {"MILLSTREAM_WORKER__UNKNOWN_TYPE_GRACE_S": "5"}
    return Fleet(kafka.bootstrap, topics, tmp_path, seed=5, beside_others=True, settings=grace)


@lengths("records", short=2_000, full=1_000_000)
def test_a_million_hostile_records_stop_no_service_and_each_is_accounted_for(
    fleet: Fleet, kafka: Broker, topics: TopicCatalogue, tmp_path: Path, scenario: Scenario, records: int
) -> None:
    written = Written(kafka.bootstrap, topics, seed=records, long_values=min(300, records // 200))
    with fleet, Services(kafka.bootstrap, topics, tmp_path) as services:
        fleet.start(WORKERS)
        fleet.feed(20)
        fleet.await_everyone()
        pids = services.pids() | {f"w{number}": worker.pid for number, worker in enumerate(fleet.workers)}
        with MemoryPeaks(pids) as memory:
            while written.count < records:
                written.write(min(AT_ONCE, records - written.count))
                if written.count % 50_000 == 0:
                    scenario.progress(f"{written.count:,} records, MB {memory.peaks_mb}")
            history = fleet.history(within_s=1_200)
            assert_workers_account_for_all(kafka.bootstrap, topics, written)
            assert_sink_accounts_for_all(kafka.bootstrap, topics, services, written)
            assert_tracker_accounts_for_all(kafka.bootstrap, topics, services)
            assert_commands_are_obeyed(kafka.bootstrap, topics, fleet)
        assert services.pids() | {f"w{number}": each.pid for number, each in enumerate(fleet.workers)} == pids
        assert all(worker.is_alive() for worker in fleet.workers)
        assert_held(
            scenario,
            history,
            [NoJobLost(), OneOutcomePerAttempt(), OrderPerKey()],
            hostile=written.count,
            **{f"{name}_mb": peak for name, peak in memory.peaks_mb.items()},
        )


def assert_workers_account_for_all(bootstrap: str, topics: TopicCatalogue, written: Written) -> None:
    """Each record of a lane is a dead letter, or its job has ended."""

    def unaccounted() -> list[Place]:
        letters = letters_of(bootstrap, topics, {topics.prefix})
        dead_places = {(letter.topic, letter.partition, letter.offset) for letter in letters}
        ended = ended_jobs(bootstrap, topics) | {letter.job_id for letter in letters}
        return [
            place
            for place, job_id in written.job_ids.items()
            if place not in dead_places and not (job_id and job_id in ended)
        ]

    eventually(unaccounted, lambda places: places == [], within_s=600, every_s=5)


def assert_sink_accounts_for_all(bootstrap: str, topics: TopicCatalogue, services: Services, written: Written) -> None:
    """Each record of a topic that has a table is a row of it or a rejected record; each event is a row or a letter."""
    tables = {
        "jobs.heartbeats": topics.heartbeats,
        "jobs.alerts": topics.alerts,
        "jobs.changes": topics.changes,
        "jobs.dead": topics.dead,
        "jobs.events": topics.events,
    }

    def open_records() -> dict[str, float]:
        inserted = services.sink_metric("millstream_sink_rows_inserted_total")
        rejected = services.sink_metric("millstream_sink_records_rejected_total")
        # Heartbeats and the letters of the sink itself go on arriving.
        return {
            name: missing
            for name, topic in tables.items()
            if (missing := len(written.places[topic]) - inserted.get(name, 0) - rejected.get(name, 0)) > 0
        }

    eventually(open_records, lambda missing: missing == {}, within_s=1_200, every_s=1)

    def events_without_a_row() -> set[Place]:
        rows = services.client.query("SELECT kafka_partition, kafka_offset FROM job_events").result_rows
        letters = letters_of(bootstrap, topics, {"millstream-sink", "sink"})
        found = {(topics.events, partition, offset) for partition, offset in rows}
        found |= {(letter.topic, letter.partition, letter.offset) for letter in letters}
        return written.places[topics.events] - found

    eventually(events_without_a_row, lambda places: not places, within_s=1_200, every_s=5)
    doubled = services.client.query(
        "SELECT count() - uniqExact(kafka_partition, kafka_offset) FROM job_events"
    ).result_rows
    assert doubled == [(0,)]


def assert_tracker_accounts_for_all(bootstrap: str, topics: TopicCatalogue, services: Services) -> None:
    """Each record of `jobs.events` was applied or counted as unreadable, and the tracker still answers for jobs."""
    expected = len(records_of(bootstrap, topics.events))
    told = eventually(lambda: services.tracker.json("/counts"), lambda told: told["events"] >= expected, within_s=1_200)
    assert told["unreadable"] > 0 and told["jobs"] > 0


def assert_commands_are_obeyed(bootstrap: str, topics: TopicCatalogue, fleet: Fleet) -> None:
    """A pause still reaches every worker, and so does its end."""
    connection, tenant = KafkaConnection(bootstrap), TENANTS[0]
    send_command(Command(action=Action.PAUSE, scope=Scope.TENANT, target=tenant), connection, topics)
    time.sleep(2)
    paused = fleet.submit([NewJob("demo.sleep", {"seconds": 0.0}, tenant=tenant) for _ in range(20)])
    fleet.pause(1.0, 1.0)
    assert not fleet.started(paused)
    send_command(Command(action=Action.RESUME, scope=Scope.TENANT, target=tenant), connection, topics)
    fleet.await_ends(20)
    assert fleet.started(paused) == set(paused)
