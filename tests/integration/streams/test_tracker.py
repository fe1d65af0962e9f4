"""The tracker on a real broker: its states are right after duplicates, garbage, aborted transactions and kill -9."""

import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from millstream.local.broker import Broker
from millstream.local.ports import free_port
from millstream.local.process import ChildProcess
from millstream.schemas import Codec, EventKind, JobEvent, JobState, KafkaConnection, State, TopicCatalogue
from millstream.schemas.ids import new_id
from millstream.schemas.topics import MAX_RECORD_BYTES
from millstream.streams.app import EXIT_STALLED
from millstream.streams.stall_detector import STALLED_CHECKS, SecondReader
from millstream.topics import apply_topics
from tests.support.brokers import set_largest_record
from tests.support.eventlog import TopicReader
from tests.support.paths import ROOT
from tests.support.waiting import eventually

CODEC = Codec()


class RunningTracker:
    """`millstream tracker` as a process of its own."""

    def __init__(
        self, bootstrap: str, topics: TopicCatalogue, folder: Path, *, program: str = "millstream", **settings: str
    ) -> None:
        self.port = free_port()
        self.process = ChildProcess(
            [sys.executable, "-m", program, "tracker"],
            cwd=folder,
            env={
                **os.environ,
                "MILLSTREAM_KAFKA__BOOTSTRAP": bootstrap,
                "MILLSTREAM_TOPICS__PREFIX": topics.prefix,
                "MILLSTREAM_TOPICS__PARTITIONS": "4",
                "MILLSTREAM_TRACKER__PORT": str(self.port),
                **settings,
            },
        )

    def __enter__(self) -> "RunningTracker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop(20)

    def start(self) -> None:
        self.process.start()
        eventually(lambda: self.get("/health"), lambda answer: answer is not None and answer.status_code == 200)

    def get(self, path: str) -> httpx.Response | None:
        assert self.process.is_alive(), self.process.tail
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
        except httpx.HTTPError:
            return None

    def json(self, path: str) -> dict[str, Any]:
        answer = self.get(path)
        return answer.json() if answer is not None else {}

    def finished(self) -> int:
        states = self.json("/counts").get("states", {})
        return sum(states.get(state.value, 0) for state in State if state.terminal)


def life(job_id: str, end: EventKind | None = EventKind.SUCCEEDED) -> list[JobEvent]:
    """The events of a job of one attempt; without an end it still runs."""
    now = datetime.now(UTC)
    common: dict[str, Any] = {
        "job_id": job_id,
        "tenant": "acme",
        "job_type": "a",
        "lane": "default",
        "submitted_at": now,
    }
    begun = {**common, "attempt": 1, "execution_id": new_id(), "started_at": now, "worker_id": "w1", "wait_ms": 1.0}
    events = [
        JobEvent(**common, kind=EventKind.SUBMITTED, occurred_at=now),
        JobEvent(**begun, kind=EventKind.STARTED, occurred_at=now),
    ]
    if end:
        events.append(JobEvent(**begun, kind=end, occurred_at=now, final=True, run_ms=2.0))
    return events


def committed(bootstrap: str, topics: TopicCatalogue) -> int:
    """The sum of the offsets that the tracker's group has committed."""
    consumer = Consumer(KafkaConnection(bootstrap).consumer(f"{topics.prefix}tracker"))
    offsets = consumer.committed([TopicPartition(topics.events, number) for number in range(4)], 10)
    consumer.close()
    return sum(max(each.offset, 0) for each in offsets)


class EventWriter:
    """Writes events in transactions, as workers do."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(KafkaConnection(bootstrap).producer(transactional_id=f"writer-{new_id()}"))
        self._producer.init_transactions(30)

    def write(self, events: list[JobEvent], *, commit: bool = True, garbage: bytes | None = None) -> None:
        self._producer.begin_transaction()
        for event in events:
            self._producer.produce(self._topic, CODEC.encode(event), event.job_id.encode())
        if garbage is not None:
            self._producer.produce(self._topic, garbage, b"garbage")
        self._producer.flush()
        if commit:
            self._producer.commit_transaction(30)
        else:
            self._producer.abort_transaction(30)


@pytest.fixture
def writer(kafka: Broker, topics: TopicCatalogue) -> Iterator[EventWriter]:
    yield EventWriter(kafka.bootstrap, topics.events)


def test_it_answers_for_every_job(any_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    topics = TopicCatalogue(topic_prefix, partitions=4)
    apply_topics(KafkaConnection(any_broker.bootstrap), topics)
    writer = EventWriter(any_broker.bootstrap, topics.events)
    done, running = [new_id() for _ in range(200)], new_id()
    writer.write([event for job_id in done for event in life(job_id)] + life(running, None))
    with RunningTracker(any_broker.bootstrap, topics, tmp_path) as tracker:
        eventually(tracker.finished, lambda count: count == 200)
        state = tracker.json(f"/jobs/{done[0]}")
        assert (state["state"], state["tenant"], state["worker_id"], state["run_ms"]) == (
            "succeeded",
            "acme",
            "w1",
            2.0,
        )
        assert tracker.json(f"/jobs/{running}")["state"] == "running"
        assert tracker.json("/counts")["states"] == {"succeeded": 200, "running": 1}
        unknown, wrong = tracker.get(f"/jobs/{new_id()}"), tracker.get("/jobs/not-an-id")
        assert unknown is not None and unknown.status_code == 404 and "no state of job" in unknown.json()["error"]
        assert wrong is not None and wrong.status_code == 400 and "not-an-id" in wrong.json()["error"]


def test_aborted_doubled_and_unreadable_events_change_nothing(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    aborted, doubled = new_id(), new_id()
    events = life(doubled)
    writer.write(life(aborted), commit=False)
    writer.write([*events, *events], garbage=b"not an event")
    writer.write(events, garbage=b"\x00\x00\x00\x00\x02\xff\xff")
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        eventually(lambda: tracker.json("/counts").get("events"), lambda count: count == 11)
        assert tracker.json("/counts") == {
            "states": {"succeeded": 1},
            "jobs": 1,
            "events": 11,
            "duplicate_outcomes": 0,
            "unreadable": 2,
        }
        assert tracker.json(f"/jobs/{doubled}")["executions"] == 1
        assert tracker.get(f"/jobs/{aborted}").status_code == 404  # type: ignore[union-attr]
        assert "event_unreadable" in tracker.process.tail


def test_a_restart_recovers_every_state_from_its_topic(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(300)]
    writer.write([event for job_id in jobs for event in life(job_id)])
    tracker = RunningTracker(kafka.bootstrap, topics, tmp_path)
    with tracker:
        eventually(tracker.finished, lambda count: count == 300)
        before = tracker.json(f"/jobs/{jobs[0]}")
        # What is committed is not read again: then nothing but the states topic can bring the jobs back.
        eventually(lambda: committed(kafka.bootstrap, topics), lambda offsets: offsets >= 900)
    assert tracker.process.returncode == 0
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as again:
        eventually(again.finished, lambda count: count == 300)
        assert again.json("/counts")["events"] == 0
        assert again.json(f"/jobs/{jobs[0]}") == before


def test_commits_keep_up_with_events_in_many_small_transactions(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(600)]
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        for job_id in jobs:
            writer.write(life(job_id))
        eventually(tracker.finished, lambda count: count == len(jobs))
        # Of three events and a marker each, all but the last marker of a partition are behind it.
        eventually(lambda: committed(kafka.bootstrap, topics), lambda offsets: offsets >= 4 * len(jobs) - 4)


def test_killed_again_and_again_it_still_knows_the_end_of_every_job(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    dice = random.Random(5)
    jobs = [new_id() for _ in range(3000)]
    tracker = RunningTracker(kafka.bootstrap, topics, tmp_path)
    for part in range(3):
        tracker.start()
        for begin in range(part * 1000, (part + 1) * 1000, 100):
            writer.write([event for job_id in jobs[begin : begin + 100] for event in life(job_id)])
            time.sleep(dice.uniform(0, 0.05))
        time.sleep(dice.uniform(0, 1.5))
        tracker.process.kill()
    with tracker:
        eventually(tracker.finished, lambda count: count == len(jobs))
        assert tracker.json("/counts")["states"] == {"succeeded": len(jobs)}
        assert tracker.json("/counts")["duplicate_outcomes"] == 0
    states = TopicReader(kafka.bootstrap, topics.states)
    states.until(lambda: len({state.job_id for state in states.decoded(JobState) if state.state.terminal}) == len(jobs))
    states.close()


def test_finished_jobs_are_removed_after_the_retention(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    done, running = new_id(), new_id()
    writer.write([*life(done), *life(running, None)])
    with RunningTracker(kafka.bootstrap, topics, tmp_path, MILLSTREAM_TRACKER__RETENTION_S="0.5") as tracker:
        eventually(lambda: tracker.json("/counts").get("states"), lambda states: states == {"running": 1})
    states = TopicReader(kafka.bootstrap, topics.states)
    states.until(
        lambda: any(
            key == done.encode() and value == b"" for key, value in zip(states.keys, states.values, strict=True)
        )
    )
    states.close()


def test_a_tracker_whose_writes_fail_ends_and_loses_nothing(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(50)]
    tracker = RunningTracker(kafka.bootstrap, topics, tmp_path)

    def write_one_more_and_see() -> bool:
        # The broker takes a moment to refuse records, so one job's events are not sure to be refused.
        jobs.append(new_id())
        writer.write(life(jobs[-1]))
        return tracker.process.is_alive()

    with tracker:
        writer.write([event for job_id in jobs for event in life(job_id)])
        eventually(tracker.finished, lambda count: count == 50)
        set_largest_record(kafka.bootstrap, topics.states, 10)
        eventually(write_one_more_and_see, lambda alive: not alive)
    assert tracker.process.returncode == EXIT_STALLED
    set_largest_record(kafka.bootstrap, topics.states, MAX_RECORD_BYTES)
    with tracker:
        eventually(tracker.finished, lambda count: count == len(jobs))


def test_a_stalled_tracker_exits_and_the_next_one_reads_everything(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    job_id = new_id()
    stalled = RunningTracker(
        kafka.bootstrap, topics, tmp_path, program="tests.support.stalled_tracker", PYTHONPATH=str(ROOT)
    )
    with stalled:
        # Nothing that it could read is nothing to end for.
        writer.write(life(new_id()), commit=False)
        time.sleep(2 * STALLED_CHECKS)
        assert stalled.get("/health").status_code == 200  # type: ignore[union-attr]
        writer.write(life(job_id))
        eventually(stalled.process.is_alive, lambda alive: not alive)
    assert stalled.process.returncode == EXIT_STALLED
    assert "tracker_stalled" in stalled.process.tail
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        eventually(lambda: tracker.json(f"/jobs/{job_id}").get("state"), lambda state: state == "succeeded")


def test_the_second_reader_finds_what_is_committed_and_not_read_and_nothing_else(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter
) -> None:
    reader = SecondReader(KafkaConnection(kafka.bootstrap), f"{topics.prefix}tracker", topics.events)
    beginning = dict.fromkeys(range(4), OFFSET_BEGINNING)
    events = life(new_id())
    writer.write(events, commit=False)
    assert reader.unread(beginning) == {}
    writer.write(events)
    # Three aborted events and their marker come first.
    ((partition, offset),) = reader.unread(beginning).items()
    assert offset == 4
    assert reader.unread(beginning | {partition: 6}) == {partition: 6}
    # Behind the last event is only the marker of its transaction, then aborted events and theirs.
    assert reader.unread(beginning | {partition: 7}) == {}
    writer.write(events, commit=False)
    assert reader.unread(beginning | {partition: 7}) == {}
    # What another tracker has read and committed is not unread either.
    group = Consumer(KafkaConnection(kafka.bootstrap).consumer(f"{topics.prefix}tracker"))
    group.commit(offsets=[TopicPartition(topics.events, partition, 6)], asynchronous=False)
    assert reader.unread(beginning) == {partition: 6}
    group.commit(offsets=[TopicPartition(topics.events, partition, 7)], asynchronous=False)
    group.close()
    assert reader.unread(beginning) == {}


def test_two_trackers_answer_for_each_others_jobs_and_the_one_that_is_left_for_all(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(40)]
    writer.write([event for job_id in jobs for event in life(job_id, None)])
    with (
        RunningTracker(kafka.bootstrap, topics, tmp_path) as first,
        RunningTracker(kafka.bootstrap, topics, tmp_path) as second,
    ):
        # Each state is written by the owner of the job now, for half of them another tracker than at the start.
        writer.write([event for job_id in jobs for event in life(job_id)])
        eventually(lambda: first.finished() + second.finished(), lambda count: count == len(jobs))
        for tracker in (first, second):
            assert tracker.finished() < len(jobs)
            for job_id in jobs:
                eventually(partial(tracker.json, f"/jobs/{job_id}"), lambda job: job.get("state") == "succeeded")
        second.process.kill()
        eventually(lambda: first.json("/counts").get("states"), lambda states: states == {"succeeded": len(jobs)})
