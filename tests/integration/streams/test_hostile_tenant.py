"""A tracker on a real broker beside a tenant that writes whatever it likes to `jobs.events`, and to `jobs.states`."""

import random
import struct
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from millstream.local.broker import Broker
from millstream.schemas import Codec, EventKind, JobEvent, KafkaConnection, State, TopicCatalogue
from millstream.schemas.ids import new_id
from tests.support.running_tracker import RunningTracker
from tests.support.tracked_events import EventWriter, committed, life
from tests.support.waiting import eventually

CODEC = Codec()


def fields_of(event: JobEvent, **changes: Any) -> bytes:
    """The record of an event with fields that its model does not allow."""
    return CODEC.encode_fields(CODEC.fields(CODEC.encode(event), "JobEvent") | changes, "JobEvent")


def hostile_events() -> list[bytes]:
    """Records that nobody of Millstream writes: some are read within bounds, most are refused."""
    started = life(new_id())[1]
    whole = CODEC.encode(started)
    records = [
        fields_of(started, **changes)
        for changes in (
            {"execution_id": "a=b", "kind": "failed", "final": True},
            {"execution_id": "1:1~1", "event_id": "~=:"},
            {"job_id": "x" * 1_600_000},
            {"job_id": "\x00"},
            {"tenant": "t" * 2_000_000},
            {"labels": {"a": "x" * 2_900_000}},
            {"labels": {str(number): "v" * 100 for number in range(20_000)}},
            {"message": "m" * 2_900_000, "kind": "progress"},
            {"error_message": "e" * 2_900_000, "kind": "failed", "final": True},
            {"submitted_at": 2**62},
            {"submitted_at": -(2**62)},
            {"occurred_at": 253_402_300_800_000_000, "kind": "succeeded", "final": True},
            {"started_at": -62_135_596_800_000_001},
            {"attempt": -1},
            {"attempt": 2**40},
            {"wait_ms": float("nan"), "run_ms": float("inf"), "progress": float("-inf"), "kind": "progress"},
        )
    ]
    records += [
        b"",
        b"\0",
        b"\1" * 9,
        b"\0\0\0\0\0",
        whole[:40],
        b"\0" + struct.pack(">I", 2**31) + b"x",
        b"\xff" * 4_000,
    ]
    dice = random.Random(11)
    while len(records) < 100:
        changed = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            changed[dice.randrange(5, len(changed))] = dice.randrange(256)
        records.append(bytes(changed))
    return records


def test_a_hundred_hostile_events_cost_no_job_its_state(kafka: Broker, topics: TopicCatalogue, tmp_path: Path) -> None:
    jobs = [new_id() for _ in range(100)]
    hostile, plain = hostile_events(), Producer(KafkaConnection(kafka.bootstrap).producer())
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as tracker:
        pid = tracker.process.pid
        for job_id, record in zip(jobs, hostile, strict=True):
            events = [CODEC.encode(each) for each in life(job_id)]
            # In the partition of the job, so that both are in one batch.
            for value in (events[0], record, *events[1:]):
                plain.produce(topics.events, value, job_id.encode())
        plain.flush(30)
        counts = eventually(lambda: tracker.json("/counts"), lambda found: found.get("events") == 400)
        assert {tracker.json(f"/jobs/{job_id}")["state"] for job_id in jobs} == {"succeeded"}
        assert counts["unreadable"] > 10 and counts["rejected"] >= 5
        assert counts["jobs"] <= 400 - counts["unreadable"] - counts["rejected"]
        assert tracker.process.pid == pid, "the same process"
        # Nothing waits behind any of them, and the next tracker need not read them again.
        eventually(lambda: committed(kafka.bootstrap, topics), lambda offsets: offsets >= 400)
        assert eventually(lambda: tracker.json("/health"), lambda found: found.get("records_behind") == 0)["ready"]
        lines = [line for line in tracker.process.tail.splitlines() if "event_rejected" in line]
        assert 1 <= len(lines) <= 5 and "xxxx" not in tracker.process.tail, "one in ten seconds, without the payload"
    assert tracker.process.returncode == 0
    with RunningTracker(kafka.bootstrap, topics, tmp_path) as again:
        assert {again.json(f"/jobs/{job_id}")["state"] for job_id in jobs} == {"succeeded"}


def test_hostile_state_records_stop_no_recovery_and_change_no_other_state(
    kafka: Broker, topics: TopicCatalogue, writer: EventWriter, tmp_path: Path
) -> None:
    jobs = [new_id() for _ in range(20)]
    writer.write([event for job_id in jobs for event in life(job_id, None)])
    tracker = RunningTracker(kafka.bootstrap, topics, tmp_path)
    with tracker:
        eventually(lambda: tracker.json("/counts").get("jobs"), lambda count: count == 20)
        eventually(lambda: committed(kafka.bootstrap, topics), lambda offsets: offsets >= 40)
    plain = Producer(KafkaConnection(kafka.bootstrap).producer())
    state = _state(jobs[0])
    crafted = CODEC.encode_fields(
        state
        | {
            "job_id": jobs[1],
            "applied": ["1:a=b", "x=y", "=", "~" * 300, "9" * 30 + "=a"] * 40,
            "submitted_at": 2**62,
            "updated_at": -(2**62),
            "attempt": 2**40,
            "executions": -5,
            "progress": float("nan"),
            "message": "m" * 2_000_000,
            "state": "other",
        },
        "JobState",
    )
    plain.produce(topics.states, crafted, jobs[1].encode())
    for key, value in (
        (b"", crafted),
        (b"\xff\xfe", crafted),
        (new_id().encode(), crafted),
        (new_id().encode(), b"garbage"),
        (b"k" * 1_000_000, b"\0\0\0\0\6" + b"\xff" * 100_000),
    ):
        plain.produce(topics.states, value, key)
    plain.flush(30)
    with tracker:
        counts = tracker.json("/counts")
        assert (counts["jobs"], counts["unreadable"]) == (20, 5)
        writer.write([event for job_id in jobs for event in life(job_id)])
        eventually(tracker.finished, lambda count: count == 20)
        assert {tracker.json(f"/jobs/{job_id}")["state"] for job_id in jobs} == {State.SUCCEEDED.value}


def _state(job_id: str) -> dict[str, Any]:
    """The fields of a state record."""
    event = life(job_id, EventKind.SUCCEEDED)[1]
    return {
        **dict.fromkeys(("execution_id", "started_at", "finished_at", "progress", "wait_ms", "run_ms")),
        **dict.fromkeys(("worker_id", "host", "message", "error_type", "error_message"), ""),
        "job_id": job_id,
        "tenant": event.tenant,
        "job_type": event.job_type,
        "lane": event.lane,
        "state": "running",
        "attempt": 1,
        "submitted_at": 0,
        "updated_at": 0,
        "executions": 0,
        "outcomes": 0,
        "applied": [],
        "labels": {},
    }
