"""Whatever an event or a state record holds, the tracker goes on, applies the others, and keeps a small state."""

import asyncio
import json
import math
import random
import struct
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from millstream.schemas import Codec, EventKind, JobEvent, State
from millstream.schemas.codec import HEADER
from millstream.schemas.ids import new_id
from millstream.schemas.job_request import MAX_LABEL_BYTES
from millstream.schemas.registry import PinnedRegistry, RegistryUnavailable
from millstream.streams import bounds, lifecycle, tracker
from millstream.streams.event_reader import EventReader, EventRejected
from millstream.streams.lifecycle import MAX_MARKS
from millstream.streams.state_codec import StateCodec
from tests.support.tracker_in_memory import Table, event, message, tracker_of

CODEC = Codec()
READER, STATES = EventReader(CODEC), StateCodec(CODEC)
NOW = int(datetime.now(UTC).timestamp() * 1e6)
DAY = 24 * 3600 * 1_000_000
JOB = new_id()

long = st.integers(-(2**63), 2**63 - 1)
times = st.one_of(st.just(NOW), st.sampled_from([0, -1, NOW + DAY, NOW + DAY + 1, 253_402_300_800_000_000]), long)
strings = st.one_of(
    st.sampled_from(
        ["", "a=b", "1=x~5", "1:a", "~", "=", ":", "#", new_id(), "x" * 256, "x" * 257, "\x00", "💥" * 3_000]
    ),
    st.text(max_size=40),
)
numbers = st.one_of(st.none(), st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 1e308]))
any_fields = st.fixed_dictionaries(
    {
        "job_id": st.just(JOB),
        "tenant": strings,
        "job_type": strings,
        "lane": strings,
        "ordering_key": st.just(""),
        "source": st.just(""),
        "submitted_at": times,
        "traceparent": strings,
        "labels": st.dictionaries(strings, strings, max_size=3),
        "attempt": st.one_of(st.integers(-1, 3), st.sampled_from([2**31 - 1, 2**31, -(2**40)])),
        "execution_id": st.one_of(st.none(), strings),
        "worker_id": strings,
        "host": strings,
        "region": st.just(""),
        "instance_type": st.just(""),
        "worker_version": st.just(""),
        "request_partition": st.just(0),
        "request_offset": long,
        "started_at": st.one_of(st.none(), times),
        "wait_ms": numbers,
        "event_id": strings,
        "kind": st.sampled_from(list(EventKind)),
        "occurred_at": times,
        "final": st.booleans(),
        "run_ms": numbers,
        "cpu_ms": numbers,
        "max_rss_bytes": st.one_of(st.none(), long),
        "progress": numbers,
        "message": strings,
        "error_type": strings,
        "error_message": strings,
        "error_fingerprint": st.just(""),
        "stack": st.just(""),
        "due_at": st.one_of(st.none(), times),
    }
)
any_state_fields = st.fixed_dictionaries(
    {
        "job_id": st.just(JOB),
        "tenant": strings,
        "job_type": strings,
        "lane": strings,
        "state": st.sampled_from(list(State)),
        "attempt": long,
        "execution_id": st.one_of(st.none(), strings),
        "submitted_at": times,
        "started_at": st.one_of(st.none(), times),
        "finished_at": st.one_of(st.none(), times),
        "updated_at": times,
        "worker_id": strings,
        "host": strings,
        "progress": numbers,
        "message": strings,
        "wait_ms": numbers,
        "run_ms": numbers,
        "error_type": strings,
        "error_message": strings,
        "executions": long,
        "outcomes": long,
        "applied": st.lists(
            st.one_of(strings, st.sampled_from(["1:a=b", "x=y", "9" * 30 + "=a", "-1=a~b"])), max_size=80
        ),
        "labels": st.dictionaries(strings, strings, max_size=3),
    }
)


def datum(**changes: Any) -> dict[str, Any]:
    """An ordinary event of `JOB`, as the fields of its record, with these changes."""
    fields = CODEC.fields(event(JOB, EventKind.STARTED), "JobEvent")
    assert not changes.keys() - fields.keys()
    return fields | changes


def encoded(**changes: Any) -> bytes:
    return CODEC.encode_fields(datum(**changes), "JobEvent")


def check(value: bytes) -> None:
    """The record of a state is small, can be read again, and its answer is JSON that every reader understands."""
    assert len(value) <= bounds.MAX_STATE_BYTES
    model = STATES.model(value)
    json.loads(json.dumps(model.model_dump(mode="json"), allow_nan=False))
    assert len(model.applied) <= MAX_MARKS


@given(st.lists(any_fields, min_size=1, max_size=8), st.integers(0, 8))
@settings(max_examples=200, deadline=None)
def test_any_event_in_any_order_gives_a_small_state_that_is_written_read_and_answered(
    given_fields: list[dict[str, Any]], cut: int
) -> None:
    read = []
    for fields in given_fields:
        try:
            read.append(READER.read(CODEC.encode_fields(fields, "JobEvent"), NOW))
        except EventRejected as error:
            assert str(error).isprintable()
    value = None
    for part in (read[:cut], read[cut:]):
        if part:
            state, _ = lifecycle.apply(None if value is None else STATES.decode(value), part)
            value = STATES.encode(state)
            check(value)


@given(any_state_fields, st.lists(any_fields, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_state_record_is_taken_in_within_bounds_or_refused_and_takes_any_event(
    fields: dict[str, Any], later: list[dict[str, Any]]
) -> None:
    table = Table()
    table.read([(0, JOB.encode(), CODEC.encode_fields(fields, "JobState"))])
    subject = tracker_of(table)
    run(subject.restore())
    for value in table.states.data.values():
        check(value)
    run(subject.apply_batch([message(CODEC.encode_fields(each, "JobEvent")) for each in later]))
    for value in table.states.data.values():
        check(value)
    assert sum(subject.by_state.values()) == subject.jobs == len(table.states.data)


def run(awaitable: Any) -> None:
    """Run a coroutine of the tracker; on a table in memory it never waits for long."""
    asyncio.run(awaitable)


@given(st.binary(max_size=400), st.integers(0, 12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_beside_a_good_event_leave_the_good_event_applied(data: bytes, schema: int, as_state: bool) -> None:
    record = HEADER.pack(0, schema) + data
    table, good = Table(), new_id()
    if as_state:
        table.read([(0, b"somebody", record), (0, JOB.encode(), record)])
    subject = tracker_of(table)
    run(subject.restore())
    run(subject.apply_batch([message(record), message(event(good, EventKind.SUCCEEDED)), message(data)]))
    assert subject.state(good).state is State.SUCCEEDED  # type: ignore[union-attr]
    assert subject.recovered


def test_a_mutated_event_is_read_or_refused_and_nothing_else() -> None:
    dice, table = random.Random(3), Table()
    subject, original = tracker_of(table), event(JOB, EventKind.SUCCEEDED)
    messages = []
    for _ in range(3_000):
        changed = bytearray(original)
        for _ in range(dice.randint(1, 6)):
            changed[dice.randrange(5, len(changed))] = dice.randrange(256)
        messages.append(message(bytes(changed[: dice.randint(1, len(changed))] if dice.random() < 0.3 else changed)))
    run(subject.apply_batch(messages))
    assert subject.events == 3_000 and subject.unreadable + subject.rejected > 0
    for value in table.states.data.values():
        check(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "x" * 1_600_000},
        {"job_id": "not-an-id"},
        {"job_id": ""},
        {"tenant": "t" * 257},
        {"job_type": "t" * 257},
        {"lane": "l" * 257},
        {"execution_id": "e" * 257},
        {"event_id": "e" * 257},
        {"attempt": -1},
        {"attempt": 2**31},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_event_with_an_impossible_id_or_attempt_is_rejected_counted_and_stops_no_other(
    changes: dict[str, Any],
) -> None:
    subject, good = tracker_of(Table()), new_id()
    run(subject.apply_batch([message(encoded(**changes)), message(event(good, EventKind.STARTED))]))
    assert (subject.rejected, subject.unreadable, subject.jobs) == (1, 0, 1)
    assert subject.state(good).state is State.RUNNING  # type: ignore[union-attr]


def test_the_log_names_the_field_and_the_place_of_a_rejected_event_and_never_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with capture_logs() as lines:
        run(tracker_of(Table()).apply_batch([message(encoded(tenant="secret" * 99), offset=n) for n in range(50)]))
    assert [(each["event"], each["offset"]) for each in lines] == [("event_rejected", 0)], "a line in ten seconds"
    assert "secret" not in str(lines) and "tenant" in lines[0]["reason"]


@pytest.mark.parametrize("crafted", ["a=b", "1=1~1", "~", ":", "#", "1:1", "=", "💥"])
def test_no_id_imitates_a_mark(crafted: str) -> None:
    events: list[dict[str, Any]] = [
        {"execution_id": crafted, "kind": "started"},
        {"execution_id": crafted, "kind": "failed", "event_id": crafted, "final": True},
        {"execution_id": new_id(), "kind": "succeeded", "attempt": 2, "event_id": new_id(), "final": True},
    ]
    state = None
    for each in [*events, *events]:
        state, findings = lifecycle.apply(state, [READER.read(encoded(**each), NOW)])
        assert findings == []
    assert state is not None and (state["executions"], state["outcomes"]) == (2, 2)


def test_marks_of_the_release_before_are_read_even_those_that_stopped_it() -> None:
    first = READER.read(encoded(kind="failed", attempt=1, event_id=new_id()), NOW)
    marks = ["1:a=b", "7:e=f~g", f"1={first.event_id}", "x=y", "=", "-3=a", f"{'9' * 40}=a"]
    state, _ = lifecycle.apply(None, [READER.read(encoded(), NOW)])
    state["applied"], state["outcomes"] = marks, 1
    again, findings = lifecycle.apply(state, [first])
    assert (again["outcomes"], findings) == (1, []), "it was applied before"
    _, findings = lifecycle.apply(again, [first._replace(event_id=new_id())])
    assert [each.kind for each in findings] == ["duplicate_outcome"]


def test_an_ordinary_id_keeps_the_mark_that_the_release_before_reads() -> None:
    outcome = READER.read(encoded(kind="succeeded", final=True), NOW)
    state, _ = lifecycle.apply(None, [outcome])
    assert state["applied"] == [
        f"1:{outcome.execution_id}",
        f"1={outcome.event_id}~{outcome.submitted_at}",
    ]


def test_labels_and_texts_are_cut_and_the_largest_state_fits_its_record() -> None:
    wide = "💥"
    events = [
        READER.read(
            encoded(
                labels={f"{number}{wide * 900}": wide * 900_000 for number in range(4)} if number == 0 else {},
                tenant=wide * 256,
                job_type=wide * 256,
                lane=wide * 256,
                host=wide * 9_000,
                worker_id=wide * 9_000,
                attempt=number,
                execution_id=f"{number}" + wide * 250,
                event_id=f"{number}" + wide * 250,
                kind="failed",
                message=wide * 900_000 if number == 0 else "",
                error_type=wide * 9_000,
                error_message=wide * 9_000,
            ),
            NOW,
        )
        for number in range(100)
    ]
    for part in (events[:1], events):
        state, _ = lifecycle.apply(None, part)
        check(STATES.encode(state))
    state, _ = lifecycle.apply(None, events[:1])
    assert len(state["error_message"]) == bounds.MAX_TEXT
    assert sum(len(key) + len(value) for key, value in state["labels"].items()) == bounds.MAX_LABELS


def test_no_number_of_labels_makes_a_large_state() -> None:
    for size in (0, 1, 500, 20_000):
        kept = bounds.labels({f"key-{number}": "v" * size for number in range(50_000)})
        assert kept
        assert sum(len(key) + len(value) for key, value in kept.items()) <= bounds.MAX_LABELS


def test_labels_that_a_producer_may_send_are_kept_as_they_are() -> None:
    given = {"a": "x" * (bounds.MAX_LABELS - 11), "b": "x" * 9}
    assert bounds.labels(given) == given
    assert MAX_LABEL_BYTES <= bounds.MAX_LABELS


TIMES = ["far ahead", "two days ahead", "before 1970", "far back"]


@pytest.mark.parametrize("impossible", [2**62, NOW + 2 * DAY, -1, -(2**62)], ids=TIMES)
def test_a_submission_at_an_impossible_time_neither_hides_nor_blocks_the_real_one(impossible: int) -> None:
    forged = READER.read(encoded(submitted_at=impossible, kind="failed", final=True, event_id=new_id()), NOW)
    real = READER.read(encoded(kind="succeeded", final=True, attempt=2, execution_id=new_id()), NOW)
    for order in ([forged, real], [real, forged]):
        state, _ = lifecycle.apply(None, order)
        assert (state["state"], state["submitted_at"]) == (State.SUCCEEDED, real.submitted_at)
    alone, _ = lifecycle.apply(None, [forged])
    assert (alone["state"], alone["submitted_at"]) == (State.FAILED, 0), "a producer without a clock still has its jobs"


@pytest.mark.parametrize("impossible", [2**62, NOW + 2 * DAY, -1], ids=TIMES[:3])
def test_a_job_that_finished_at_an_impossible_time_is_evicted_with_those_of_its_append(impossible: int) -> None:
    table = Table()
    subject = tracker_of(table, retention_s=0.001)
    ended = encoded(kind="succeeded", final=True, occurred_at=impossible, started_at=impossible)
    run(subject.apply_batch([message(ended)]))
    assert subject.state(JOB).finished_at.year >= 2026  # type: ignore[union-attr]
    run(wait_and_evict(subject))
    assert subject.jobs == 0


async def wait_and_evict(subject: Any) -> None:
    await asyncio.sleep(0.01)
    await subject.evict()


def test_a_state_record_under_the_key_of_another_job_changes_nothing_of_it() -> None:
    table, victim = Table(), new_id()
    forged = CODEC.encode_fields(STATES.decode(_state(new_id())) | {"job_id": victim}, "JobState")
    table.read([(0, victim.encode(), _state(victim)), (0, b"mine", forged), (0, new_id().encode(), forged)])
    subject = tracker_of(table)
    run(subject.restore())
    assert (subject.jobs, subject.unreadable) == (1, 2)
    assert subject.state(victim).tenant == "acme"  # type: ignore[union-attr]


def _state(job_id: str) -> bytes:
    state, _ = lifecycle.apply(None, [READER.read(event(job_id, EventKind.STARTED), NOW)])
    return STATES.encode(state)


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"x" * 2_000_000])
def test_a_state_record_with_an_impossible_key_is_refused(key: Any) -> None:
    table = Table()
    table.read([(0, key, _state(JOB)), (0, JOB.encode(), _state(JOB))])
    subject = tracker_of(table)
    run(subject.restore())
    assert (subject.jobs, subject.unreadable, subject.recovered) == (1, 1, True)


class FlakyRegistry(PinnedRegistry):
    """A Schema Registry that answers the third question about an unknown id: there is none."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def schema_of(self, schema_id: int) -> Any:
        if schema_id > 50_000:
            self.asked[schema_id] += 1
            if self.asked[schema_id] < 3:
                raise RegistryUnavailable("not now")
        return super().schema_of(schema_id)


async def test_a_registry_without_an_answer_is_asked_again_and_loses_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "REGISTRY_RETRY_S", 0.0)
    registry, table, good = FlakyRegistry(), Table(), new_id()
    subject = tracker.Tracker(table, SimpleNamespace(partition=lambda key: 0, owned=lambda: {0}), Codec(registry), 60)  # type: ignore[arg-type]
    foreign = b"\0" + struct.pack(">I", 60_000) + b"body"
    await subject.apply_batch([message(foreign), message(event(good, EventKind.STARTED))])
    assert (subject.unreadable, registry.asked[60_000]) == (1, 3)
    assert subject.state(good).state is State.RUNNING  # type: ignore[union-attr]


def test_an_event_is_read_as_its_model_says() -> None:
    model = JobEvent.model_validate(CODEC.decode(encoded(progress=0.5, message="half"), JobEvent).model_dump())
    read = READER.read(CODEC.encode(model), NOW)
    assert (read.job_id, read.kind, read.progress, read.message) == (JOB, EventKind.STARTED, 0.5, "half")
    assert read.submitted_at == int(model.submitted_at.timestamp() * 1e6)
