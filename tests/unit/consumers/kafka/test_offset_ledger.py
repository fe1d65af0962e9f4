"""The offset ledger: never commits past an unfinished offset, never re-runs a finished one, never loses one."""

import base64
import itertools
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.testing import capture_logs

from millstream.consumers.kafka.offset_ledger import (
    FETCH_MARGIN,
    METADATA_LIMIT,
    Checkpoint,
    OffsetLedger,
    UnknownOffset,
)


def test_commits_the_contiguous_watermark() -> None:
    ledger = OffsetLedger()
    for offset in (5, 6, 7):
        ledger.take(offset)
    ledger.finish(6)
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    assert checkpoint.offset == 5
    ledger.finish(5)
    ledger.finish(7)
    assert ledger.checkpoint() == Checkpoint(8, "")


def test_nothing_read_means_nothing_to_commit() -> None:
    assert OffsetLedger().checkpoint() is None


def test_gaps_of_transaction_markers_count_as_done() -> None:
    ledger = OffsetLedger()
    ledger.take(1)
    ledger.take(9)
    ledger.finish(1)
    assert ledger.checkpoint() == Checkpoint(9, "")


def test_finishing_twice_or_out_of_thin_air_is_an_error() -> None:
    ledger = OffsetLedger()
    ledger.take(3)
    ledger.finish(3)
    for offset in (3, 4):
        with pytest.raises(UnknownOffset):
            ledger.finish(offset)


def test_an_offset_that_is_delivered_once_more_does_not_run_again() -> None:
    ledger = OffsetLedger()
    assert ledger.take(3) and ledger.take(4)
    assert not ledger.take(3)
    ledger.finish(3)
    assert not ledger.take(4)
    assert ledger.next == 5
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None and checkpoint.offset == 4


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=60), st.data())
def test_what_is_finished_is_remembered_however_far_it_is_from_the_watermark(
    gaps: list[int], data: st.DataObject
) -> None:
    offsets = list(itertools.accumulate(gaps))
    ledger = OffsetLedger()
    for offset in offsets:
        assert ledger.take(offset)
    finished = data.draw(st.sets(st.sampled_from(offsets)))
    for offset in finished:
        ledger.finish(offset)
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    again = OffsetLedger(checkpoint)
    delivered = [offset for offset in offsets if offset >= checkpoint.offset]
    assert {offset for offset in delivered if again.take(offset)} == set(offsets) - finished


def test_one_job_that_runs_for_hours_costs_no_memory_for_each_one_that_finishes_above_it() -> None:
    ledger = OffsetLedger()
    ledger.take(0)

    def run(first: int, count: int) -> None:
        for offset in range(first, first + count):
            ledger.take(offset)
            ledger.finish(offset)

    tracemalloc.start()
    run(1, 5_000)
    before, _ = tracemalloc.get_traced_memory()
    run(5_001, 200_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000
    again = OffsetLedger(ledger.checkpoint())
    assert again.take(0) and not again.take(1) and not again.take(205_000) and again.take(205_001)


@pytest.mark.parametrize("metadata", ["", "hello", "m1r:", "m1r:!!!", "m1b:00", "m9z:abcd", "m1r:" + "0" * 50])
def test_unknown_or_damaged_metadata_is_ignored_and_runs_again(metadata: str) -> None:
    ledger = OffsetLedger(Checkpoint(10, metadata))
    assert ledger.take(10)
    assert ledger.take(11)


@given(st.text(max_size=60))
def test_no_metadata_is_fatal(text: str) -> None:
    for prefix in ("", "m1r:", "m1b:"):
        assert OffsetLedger(Checkpoint(0, prefix + text)).checkpoint() is not None


def half_finished(place: str = "c/jobs.default/3", start: int = 100) -> Checkpoint:
    """A commit that says that every second offset above `start` is finished."""
    ledger = OffsetLedger(place=place)
    for offset in range(start, start + 20):
        ledger.take(offset)
    for offset in range(start + 1, start + 20, 2):
        ledger.finish(offset)
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    return checkpoint


def run_again(checkpoint: Checkpoint, place: str) -> list[int]:
    ledger = OffsetLedger(checkpoint, place=place)
    return [offset for offset in range(checkpoint.offset, checkpoint.offset + 20) if ledger.take(offset)]


def test_metadata_at_its_own_place_is_believed() -> None:
    assert run_again(half_finished(), "c/jobs.default/3") == list(range(100, 120, 2))


@pytest.mark.parametrize(
    ("place", "moved"), [("c/jobs.default/2", 0), ("other/jobs.default/3", 0), ("c/jobs.default/3", -1)]
)
def test_metadata_of_another_partition_cluster_or_offset_is_ignored_and_every_job_runs(place: str, moved: int) -> None:
    written = half_finished()
    copied = Checkpoint(written.offset + moved, written.metadata)
    assert run_again(copied, place) == list(range(copied.offset, copied.offset + 20))


def test_metadata_of_another_place_is_told_with_how_many_offsets_it_says_are_finished() -> None:
    written = half_finished()
    with capture_logs() as lines:
        OffsetLedger(Checkpoint(written.offset - 3, written.metadata), place="b/jobs.default/3")
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("commit_metadata_ignored", "warning")
    assert (line["place"], line["offset"], line["finished"]) == ("b/jobs.default/3", 97, 10)


def test_metadata_without_an_address_was_written_here_by_an_older_release() -> None:
    written = half_finished()
    packed = base64.b85decode(written.metadata[4:])
    old = Checkpoint(written.offset, written.metadata[:4] + base64.b85encode(packed[:-4]).decode())
    assert run_again(old, "c/jobs.default/3") == list(range(100, 120, 2))


def test_a_release_that_knows_no_address_reads_the_same_offsets() -> None:
    packed = base64.b85decode(half_finished().metadata[4:])
    assert zlib.decompress(packed) == zlib.decompress(packed[:-4])


@given(st.data(), st.integers(200, 4095))
@settings(max_examples=40, deadline=None)
def test_while_the_ledger_is_not_nearly_full_a_fetch_of_offsets_always_fits_into_a_commit(
    data: st.DataObject, limit: int
) -> None:
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    finishes = data.draw(st.floats(0, 1))
    ledger = OffsetLedger(metadata_limit=limit, place="c/jobs.default/3")
    in_flight: list[int] = [0]
    ledger.take(0)
    offset = 1
    for _ in range(60):
        if not ledger.nearly_full:
            for _ in range(FETCH_MARGIN):
                ledger.take(offset)
                in_flight.append(offset)
                offset += 1
        # The job at the watermark runs for the whole time.
        rest = in_flight[1:]
        dice.shuffle(rest)
        done = int(len(rest) * finishes)
        for each in rest[:done]:
            ledger.finish(each)
        in_flight = [0, *sorted(rest[done:])]
        checkpoint = ledger.checkpoint()
        assert checkpoint is not None
        assert len(checkpoint.metadata) <= limit
        again = OffsetLedger(checkpoint, place="c/jobs.default/3")
        assert [each for each in range(offset) if again.take(each)] == in_flight


@given(st.sets(st.integers(0, 20_000), min_size=1, max_size=9_000))
@settings(max_examples=30, deadline=None)
def test_metadata_never_exceeds_the_limit_and_forgetting_never_skips_work(finished: set[int]) -> None:
    ledger = OffsetLedger()
    for offset in range(20_001):
        ledger.take(offset)
    for offset in finished:
        ledger.finish(offset)
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    assert len(checkpoint.metadata.encode()) <= METADATA_LIMIT
    again = OffsetLedger(checkpoint)
    delivered = {offset for offset in range(checkpoint.offset, 20_001) if again.take(offset)}
    assert delivered >= set(range(20_001)) - finished


def test_a_ledger_is_nearly_full_until_enough_has_finished() -> None:
    ledger = OffsetLedger(metadata_limit=200)
    for offset in range(2_000):
        ledger.take(offset)
    finished = set(random.Random(7).sample(range(1, 2_000), 900))
    for offset in finished:
        ledger.finish(offset)
    ledger.checkpoint()
    assert ledger.nearly_full
    for offset in set(range(2_000)) - finished:
        ledger.finish(offset)
    ledger.checkpoint()
    assert not ledger.nearly_full


def test_an_outcome_written_elsewhere_is_finished_whether_or_not_the_commit_knew_the_offset() -> None:
    written = half_finished()
    ledger = OffsetLedger(written, place="c/jobs.default/3")
    for offset in (102, 130):
        assert not ledger.is_finished(offset)
        ledger.finish_elsewhere(offset)
        assert ledger.is_finished(offset)
    assert ledger.finished_ahead == {130}
    assert [each for each in range(100, 132) if ledger.take(each)] == [100, *range(104, 120, 2), *range(120, 130), 131]
    assert ledger.finished_ahead == set()


class LedgerLife(RuleBasedStateMachine):
    """One partition through deliveries, completions, commits, crashes and reassignments in any order.

    `end` is the log end. A crash goes back to the last commit; a clean reassignment commits first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger()
        self.committed = Checkpoint(0)
        self.position = 0
        self.in_flight: set[int] = set()
        self.finished: set[int] = set()
        self.finished_and_committed: set[int] = set()
        self.gaps: set[int] = set()

    @rule(gap=st.integers(0, 3), count=st.integers(1, 20))
    def deliver(self, gap: int, count: int) -> None:
        # Only what was never delivered before may turn out to be a gap.
        fresh = max(self.finished | self.in_flight | self.gaps, default=-1) < self.position
        if fresh:
            self.gaps |= set(range(self.position, self.position + gap))
            self.position += gap
        for _ in range(count):
            while self.position in self.gaps:
                self.position += 1
            offset, self.position = self.position, self.position + 1
            must_run = self.ledger.take(offset)
            if must_run:
                self.in_flight.add(offset)
                self.finished.discard(offset)
            assert must_run == (offset not in self.finished_and_committed)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        for offset in data.draw(st.sets(st.sampled_from(sorted(self.in_flight)), min_size=1)):
            self.ledger.finish(offset)
            self.in_flight.discard(offset)
            self.finished.add(offset)

    @rule()
    def commit(self) -> None:
        self.committed = self.ledger.checkpoint() or Checkpoint(0)
        self.finished_and_committed = set(self.finished)

    @rule()
    def crash(self) -> None:
        self.ledger = OffsetLedger(self.committed)
        self.position = self.committed.offset
        self.in_flight = set()
        self.finished = set(self.finished_and_committed)

    @rule()
    def hand_over_cleanly(self) -> None:
        self.commit()
        self.crash()

    @invariant()
    def never_commits_past_an_unfinished_offset(self) -> None:
        checkpoint = self.ledger.checkpoint()
        if checkpoint and self.in_flight:
            assert checkpoint.offset <= min(self.in_flight)
        assert self.ledger.in_flight == len(self.in_flight)


TestLedgerLife = LedgerLife.TestCase
TestLedgerLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_finished_offset_that_is_reopened_holds_the_watermark_until_it_is_finished_again() -> None:
    ledger = OffsetLedger()
    for offset in range(4):
        ledger.take(offset)
        ledger.finish(offset)
    assert ledger.checkpoint() == Checkpoint(4)
    ledger.reopen([1, 2])
    reopened = ledger.checkpoint()
    assert reopened is not None and reopened.offset == 1
    resumed = OffsetLedger(reopened)
    assert [resumed.take(offset) for offset in range(1, 4)] == [True, True, False]
    for offset in (2, 1):
        ledger.finish(offset)
    assert ledger.checkpoint() == Checkpoint(4)
