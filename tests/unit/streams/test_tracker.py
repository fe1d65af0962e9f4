"""What the tracker keeps, forgets, moves, and where it stops, on a table in memory."""

import asyncio
import struct
from datetime import UTC, datetime, timedelta

from millstream.schemas import Codec, EventKind, JobState, State
from millstream.schemas.ids import new_id
from millstream.streams import tracker as module
from tests.support.tracker_in_memory import Placement, Table, event, message, tracker_of

CODEC = Codec()
NOW = datetime.now(UTC)


def state(job_id: str, state: State) -> bytes:
    finished_at = NOW if state.terminal else None
    return CODEC.encode(
        JobState(
            job_id=job_id,
            tenant="acme",
            job_type="a",
            lane="default",
            state=state,
            attempt=1,
            submitted_at=NOW,
            updated_at=NOW,
            finished_at=finished_at,
        )
    )


def newer(value: bytes) -> bytes:
    """The record as a release would write it whose schema id this one does not have."""
    return b"\0" + struct.pack(">I", 999) + value[5:]


async def test_what_lies_behind_an_event_of_a_newer_release_is_applied_and_not_acknowledged() -> None:
    tracker, known, job_id = tracker_of(Table()), new_id(), new_id()
    await tracker.apply_batch(
        [
            message(event(job_id, EventKind.STARTED)),
            message(newer(event(job_id, EventKind.SUCCEEDED)), partition=3, offset=17),
            message(event(known, EventKind.STARTED)),
        ]
    )
    assert "events[3] 17" in tracker.newer_event and "999" in tracker.newer_event
    assert tracker.unreadable == 0, "a newer tracker can read it"
    assert {tracker.state(each).state for each in (job_id, known)} == {State.RUNNING}  # type: ignore[union-attr]
    held = {(3, 16): False, (3, 17): True, (3, 18): True, (0, 99): False}
    assert {place: tracker.holds(message(b"", *place)) for place in held} == held
    late = new_id()
    await tracker.apply_batch([message(event(late, EventKind.SUCCEEDED), partition=3, offset=18)])
    assert tracker.state(late).state is State.SUCCEEDED  # type: ignore[union-attr]
    await tracker.restore()
    assert (tracker.newer, tracker.newer_event) == ({}, ""), "after a rebalance the event is read again, or by others"


async def test_an_id_that_is_not_of_a_newer_release_is_unreadable_and_stops_nothing() -> None:
    tracker = tracker_of(Table())
    await tracker.apply_batch([message(b"\0\0\0\0\0abc"), message(b"garbage"), message(b"")])
    assert (tracker.newer_event, tracker.unreadable) == ("", 3)


async def test_every_job_that_is_due_is_evicted_at_once_and_others_have_their_turn_meanwhile() -> None:
    table, others = Table(), 0
    tracker = tracker_of(table, retention_s=3_600.0)
    count, long_ago = 3 * module.TURN + 7, NOW - timedelta(hours=2)
    done, recent, running = [new_id() for _ in range(count)], new_id(), new_id()
    await tracker.apply_batch([message(event(each, EventKind.SUCCEEDED, long_ago)) for each in done])
    await tracker.apply_batch(
        [message(event(recent, EventKind.SUCCEEDED)), message(event(running, EventKind.STARTED, long_ago))]
    )
    table.changelog.clear()

    async def count_turns() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(count_turns())
    assert await tracker.evict() == count
    beside.cancel()
    assert others >= 3
    assert {key.decode() for _, key, value in table.changelog if value is None} == set(done)
    assert tracker.jobs == 2 and tracker.by_state[State.SUCCEEDED] == 1
    assert await tracker.evict() == 0


async def test_states_that_were_recovered_are_evicted_too() -> None:
    table, job_id = Table(), new_id()
    table.read([(0, job_id.encode(), state(job_id, State.SUCCEEDED))])
    tracker = tracker_of(table, retention_s=0.001)
    await tracker.restore()
    await asyncio.sleep(0.01)
    assert await tracker.evict() == 1
    assert (tracker.jobs, list(table.states.records())) == (0, [])


async def test_of_two_records_of_a_job_the_one_that_shows_more_counts_in_whatever_order_they_are_read() -> None:
    job_id = new_id()
    key, running, done = job_id.encode(), state(job_id, State.RUNNING), state(job_id, State.SUCCEEDED)
    for records in ([(0, key, running), (1, key, done)], [(1, key, done), (0, key, running)]):
        table = Table()
        table.read(records)
        tracker = tracker_of(table, Placement(belongs=1))
        await tracker.restore()
        assert tracker.state(job_id).state is State.SUCCEEDED  # type: ignore[union-attr]
        assert table.changelog == [(1, key, done), (0, key, None)], "the next start finds one record"


async def test_a_state_in_the_partition_that_its_key_had_is_moved_to_the_one_that_it_has() -> None:
    table, job_id = Table(), new_id()
    key, value = job_id.encode(), state(job_id, State.SUCCEEDED)
    table.read([(0, key, value)])
    tracker = tracker_of(table, Placement(belongs=1))
    await tracker.restore()
    assert table.changelog == [(1, key, value), (0, key, None)]
    # What is in memory is the record in its new place: a second recovery moves nothing.
    await tracker.restore()
    assert len(table.changelog) == 2 and tracker.jobs == 1


async def test_a_state_that_belongs_to_another_tracker_is_neither_shown_nor_changed() -> None:
    table, job_id = Table(), new_id()
    table.read([(0, job_id.encode(), state(job_id, State.RUNNING))])
    tracker = tracker_of(table, Placement(belongs=1, owned=(0,)))
    await tracker.restore()
    assert (tracker.state(job_id), table.changelog) == (None, [])
    assert tracker.recovered


async def test_a_late_event_in_the_former_partition_is_kept_there_when_another_tracker_owns_the_new_one() -> None:
    job_id = new_id()
    for owned, written_to in (((0,), 0), ((0, 1), 1)):
        table = Table()
        tracker = tracker_of(table, Placement(belongs=1, owned=owned))
        await tracker.apply_batch([message(event(job_id, EventKind.SUCCEEDED), partition=0)])
        assert [partition for partition, _, _ in table.changelog] == [written_to]


def test_a_tombstone_removes_the_record_of_its_own_partition_only() -> None:
    table = Table()
    table.read([(0, b"k", b"old"), (1, b"k", b"new"), (0, b"k", None)])
    assert list(table.states.records()) == [(b"k", {1: b"new"})]
    table.read([(0, b"k", b"old"), (0, b"k", None)])
    assert list(table.states.records()) == [(b"k", {1: b"new"})]
    table.read([(1, b"k", None)])
    assert list(table.states.records()) == []


async def test_records_of_partitions_that_are_given_away_are_dropped() -> None:
    table = Table()
    table.read([(0, b"both", b"zero"), (1, b"both", b"one"), (0, b"gone", b"zero"), (1, b"kept", b"one")])
    await table.states.on_recovery_completed({("states", 1)}, set())
    assert dict(table.states.records()) == {b"both": {1: b"one"}, b"kept": {1: b"one"}}


def test_a_missing_offset_that_each_rebalance_reports_again_counts_once() -> None:
    tracker = tracker_of(Table())
    for offset in (7, 7, 9):
        tracker.offset_reset("events", 1, offset)
    tracker.offset_reset("events", 2, 7)
    assert tracker.offset_resets == 3
