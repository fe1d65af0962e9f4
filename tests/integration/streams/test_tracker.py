"""The tracker on a real broker: its states are right after duplicates, garbage, aborted transactions and kill -9."""

import random
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from millstream.local.broker import Broker
from millstream.producers.commands_topic import write_records
from millstream.schemas import JobState, KafkaConnection, TopicCatalogue
from millstream.schemas.ids import new_id
from millstream.schemas.registry import ANNOUNCEMENT_KEY
from millstream.schemas.topics import MAX_RECORD_BYTES
from millstream.streams.app import EXIT_STALLED
from millstream.streams.stall_detector import STALLED_CHECKS, SecondReader
from millstream.topics import apply_topics
from tests.support.brokers import set_largest_record
from tests.support.eventlog import TopicReader
from tests.support.growth import grow
from tests.support.retention import delete_records
from tests.support.running_tracker import RunningTracker
from tests.support.tracked_events import EventWriter, committed, life
from tests.support.waiting import eventually


def partitions_of_states(bootstrap: str, topics: TopicCatalogue) -> dict[bytes, int]:
    """In how many partitions of the states topic each job has a record that is not deleted."""
    consumer = Consumer(KafkaConnection(bootstrap).consumer("reader", enable_partition_eof=True))
    left = set(consumer.list_topics(topics.states, 10).topics[topics.states].partitions)
    consumer.assign([TopicPartition(topics.states, number, OFFSET_BEGINNING) for number in left])
    records: dict[tuple[bytes, int], bytes | None] = {}
    while left:
        message: Any = consumer.poll(10)
        if message.error() is not None:
            left.discard(message.partition())
        else:
            records[message.key(), message.partition()] = message.value()
    consumer.close()
    return Counter(key for (key, _), value in records.items() if value is not None)


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
        counts = eventually(lambda: tracker.json("/counts"), lambda found: found.get("records_behind") == 0)
        assert counts == {
            "states": {"succeeded": 1},
            "jobs": 1,
            "events": 11,
            "duplicate_outcomes": 0,
            "reused_attempts": 0,
            "unreadable": 2,
            "rejected": 0,
            "offset_resets": 0,
            # Behind the last event of a partition are only the markers of transactions.
            "records_behind": 0,
            "seconds_behind": 0.0,
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
    stalled = RunningTracker(kafka.bootstrap, topics, tmp_path, program="tests.support.stalled_tracker")
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


ANNOUNCED_WITHIN_S = 1.0
"""`topics apply` announces a release's schemas long before a producer uses them."""


def test_an_event_of_a_newer_release_stops_nothing_and_nothing_behind_it_is_acknowledged(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    before, newer, after = new_id(), new_id(), [new_id() for _ in range(20)]
    writer.write([], garbage=b"\0" + (999).to_bytes(4) + b"what somebody made up")
    writer.write(life(before))
    plain = Producer(KafkaConnection(kafka.bootstrap).producer())
    placed: list[Any] = []
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        eventually(lambda: committed(kafka.bootstrap, topics), lambda offsets: offsets >= 4)
        assert tracker.json("/counts")["unreadable"] == 1, "no release has announced the schema"
        write_records(KafkaConnection(kafka.bootstrap), topics, {ANNOUNCEMENT_KEY + b"999": b"999"})
        time.sleep(ANNOUNCED_WITHIN_S)
        plain.produce(
            topics.events,
            b"\0" + (999).to_bytes(4) + b"what a newer release writes",
            newer.encode(),
            on_delivery=lambda _, message: placed.append((message.partition(), message.offset())),
        )
        plain.flush(30)
        told = eventually(lambda: tracker.json("/health"), lambda found: "event_of_newer_release" in found)
        assert "schema id 999" in told["event_of_newer_release"]
        for job_id in after:
            writer.write(life(job_id))
        eventually(tracker.finished, lambda count: count == 21)
        assert tracker.json("/counts")["unreadable"] == 1, "a newer tracker can read it"
        assert tracker.process.tail.count("event_of_newer_release") == 1
        ((held, offset),) = placed
        # The other partitions are acknowledged: all but the marker behind the last event of each.
        eventually(lambda: _lag_of_commits(kafka.bootstrap, topics, held), lambda lag: lag <= 3)
    assert tracker.process.returncode == 0, "its stop waits for nothing"
    assert committed(kafka.bootstrap, topics, [held]) <= offset
    with tracker:
        # The next one reads the event again, as that of the newer release will.
        eventually(lambda: tracker.json("/health"), lambda found: "event_of_newer_release" in found)
        assert (tracker.finished(), tracker.json("/counts")["duplicate_outcomes"]) == (21, 0)


def _lag_of_commits(bootstrap: str, topics: TopicCatalogue, but: int) -> int:
    """How many offsets lie behind those that the tracker's group has committed, in all partitions but one."""
    consumer = Consumer(KafkaConnection(bootstrap).consumer("reader"))
    others = [number for number in range(4) if number != but]
    ends = sum(consumer.get_watermark_offsets(TopicPartition(topics.events, each), 10)[1] for each in others)
    consumer.close()
    return ends - committed(bootstrap, topics, others)


def test_states_stay_right_over_restarts_when_events_and_states_get_more_partitions(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs, finished_before = [new_id() for _ in range(60)], [new_id() for _ in range(20)]
    lives = {job_id: life(job_id) for job_id in jobs}
    writer.write([event for job_id in jobs for event in lives[job_id][:2]])
    writer.write([event for job_id in finished_before for event in life(job_id)])
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        eventually(
            lambda: tracker.json("/counts").get("states"), lambda states: states == {"running": 60, "succeeded": 20}
        )
        grow(kafka.bootstrap, topics, 8, settle_s=0.0)
        # The running tracker hears of the new partitions within ten seconds.
        EventWriter(kafka.bootstrap, topics.events).write([lives[job_id][2] for job_id in jobs])
        eventually(tracker.finished, lambda count: count == 80)
    for _ in range(2):
        with RunningTracker(kafka.bootstrap, topics, tmp_path, MILLSTREAM_TOPICS__PARTITIONS="8") as again:
            assert again.json("/counts")["states"] == {"succeeded": 80}
            assert again.json(f"/jobs/{finished_before[0]}")["state"] == "succeeded"
    assert Counter(partitions_of_states(kafka.bootstrap, topics).values()) == {1: 80}


def test_two_trackers_answer_for_all_jobs_when_events_and_states_get_more_partitions(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(60)]
    lives = {job_id: life(job_id) for job_id in jobs}
    with (
        RunningTracker(kafka.bootstrap, topics, tmp_path) as first,
        RunningTracker(kafka.bootstrap, topics, tmp_path) as second,
    ):
        writer.write([event for job_id in jobs for event in lives[job_id][:2]])
        grow(kafka.bootstrap, topics, 8, settle_s=0.0)
        EventWriter(kafka.bootstrap, topics.events).write([lives[job_id][2] for job_id in jobs])
        eventually(lambda: first.finished() + second.finished(), lambda count: count == len(jobs))
        for tracker in (first, second):
            for job_id in jobs:
                eventually(partial(tracker.json, f"/jobs/{job_id}"), lambda job: job.get("state") == "succeeded")


def test_events_that_were_deleted_unread_are_counted_and_named(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    def delete_all() -> None:
        delete_records(kafka.bootstrap, [TopicPartition(topics.events, number, OFFSET_END) for number in range(4)])

    read, lost = new_id(), new_id()
    writer.write(life(new_id()))
    delete_all()
    writer.write(life(read))
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        eventually(tracker.finished, lambda count: count == 1)
        eventually(lambda: committed(kafka.bootstrap, topics), lambda offsets: offsets >= 3)
        assert tracker.json("/counts")["offset_resets"] == 0, "a tracker that starts for the first time misses nothing"
    writer.write([event for job_id in [read, lost] for event in life(job_id)])
    delete_all()
    with tracker:
        eventually(lambda: tracker.json("/counts").get("offset_resets"), lambda count: count == 1)
        assert "offset_out_of_range" in tracker.process.tail and topics.events in tracker.process.tail


def test_a_missing_topic_is_said_once_in_a_while_and_the_log_of_a_tracker_has_no_control_characters(
    kafka: Broker, topics: TopicCatalogue, tmp_path: Path
) -> None:
    admin = AdminClient(KafkaConnection(kafka.bootstrap).client())
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        admin.delete_topics([topics.events])[topics.events].result(10)
        time.sleep(5)
        lines = [line for line in tracker.process.tail.splitlines() if "not found in cluster metadata" in line]
    assert len(lines) == 1
    assert "\x1b[?25h" not in tracker.process.tail


def test_two_trackers_answer_for_each_others_jobs_and_the_one_that_is_left_for_all(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(40)]
    writer.write([event for job_id in jobs for event in life(job_id, None)])
    # A request that one of them forwards to the other carries the token.
    token = "s3cret"
    with (
        RunningTracker(kafka.bootstrap, topics, tmp_path, MILLSTREAM_TRACKER__TOKEN=token) as first,
        RunningTracker(kafka.bootstrap, topics, tmp_path, MILLSTREAM_TRACKER__TOKEN=token) as second,
    ):
        assert httpx.get(f"http://127.0.0.1:{first.port}/jobs/{jobs[0]}", timeout=5).status_code == 401
        # Each state is written by the owner of the job now, for half of them another tracker than at the start.
        writer.write([event for job_id in jobs for event in life(job_id)])
        eventually(lambda: first.finished() + second.finished(), lambda count: count == len(jobs))
        for tracker in (first, second):
            assert tracker.finished() < len(jobs)
            for job_id in jobs:
                eventually(partial(tracker.json, f"/jobs/{job_id}"), lambda job: job.get("state") == "succeeded")
        second.process.kill()
        eventually(lambda: first.json("/counts").get("states"), lambda states: states == {"succeeded": len(jobs)})
