"""The offset ledger: never commits past an unfinished offset, never re-runs a finished one, never loses one."""

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from millstream.consumers.kafka.offset_ledger import METADATA_LIMIT, Checkpoint, OffsetLedger, UnknownOffset


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
    run_again = {offset for offset in range(checkpoint.offset, 20_001) if again.take(offset)}
    assert run_again >= set(range(20_001)) - finished


def test_a_warning_is_logged_when_the_metadata_nears_the_limit() -> None:
    ledger = OffsetLedger(metadata_limit=40)
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
