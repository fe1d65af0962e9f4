"""Jobs that the previous owner of their partition runs: they start here only when nobody else may finish them."""

import time
from collections.abc import Collection

import pytest

from millstream.consumers.kafka.running_elsewhere import RunningElsewhere
from millstream.consumers.worker import awaited_jobs
from tests.unit.consumers.worker.conftest import TOPIC, Parts


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited_jobs, "READ_INTERVAL_S", 0.0)


def announce(
    parts: Parts, running: set[int], finished: Collection[int] = (), until_s: float = 60.0, slot: int = 0
) -> None:
    parts.groups.announced[TOPIC, 0, slot] = RunningElsewhere(
        TOPIC, 0, 0, "w0", "w0-handover", time.time() + until_s, frozenset(running), frozenset(finished)
    )


def ask(parts: Parts) -> None:
    for _ in range(3):
        parts.handover.run_once()


def test_a_job_that_runs_elsewhere_is_taken_and_does_not_start(parts: Parts) -> None:
    announce(parts, {1})
    parts.assign(0)
    assert [each.awaited for each in parts.take_requests(3)] == [False, True, False]
    ask(parts)
    assert parts.released == []


def test_an_outcome_of_the_previous_owner_finishes_the_offset_without_a_start(parts: Parts) -> None:
    announce(parts, {0})
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    announce(parts, set(), finished={0})
    ask(parts)
    assert parts.released == [(execution, False)]
    parts.commit_loop.write_all()
    assert parts.committed() == {0: 1}
    assert parts.in_flight.admission.records == 0


def test_an_outcome_that_comes_before_the_record_is_delivered_is_not_run_again(parts: Parts) -> None:
    announce(parts, {0, 1})
    parts.assign(0)
    announce(parts, {1}, finished={0})
    ask(parts)
    assert [each.offset for each in parts.take_requests(2)] == [1]


def test_outcomes_that_were_announced_before_the_assignment_are_not_run_again(parts: Parts) -> None:
    announce(parts, set(), finished={0, 2})
    parts.assign(0)
    assert [each.offset for each in parts.take_requests(4)] == [1, 3]


def test_a_job_that_is_given_back_starts_here(parts: Parts) -> None:
    announce(parts, {0})
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    announce(parts, set())
    ask(parts)
    assert parts.released == [(execution, True)]


def test_a_previous_owner_that_died_loses_its_right_to_write_before_its_jobs_start_here(parts: Parts) -> None:
    announce(parts, {0})
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.gone.add("w0")
    parts.handover.run_once()
    assert (parts.fenced, parts.released) == (["w0-handover"], [])
    ask(parts)
    assert parts.fenced == ["w0-handover"]
    assert parts.released == [(execution, True)]


def test_a_previous_owner_that_is_late_loses_its_right_to_write(parts: Parts) -> None:
    announce(parts, {0}, until_s=-1)
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    ask(parts)
    assert parts.fenced == ["w0-handover"]
    assert parts.released == [(execution, True)]


def test_an_outcome_that_was_committed_before_the_fencing_is_not_run_again(parts: Parts) -> None:
    announce(parts, {0}, until_s=-1)
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.handover.run_once()
    announce(parts, set(), finished={0}, until_s=-1)
    ask(parts)
    assert parts.released == [(execution, False)]


def test_while_the_announcement_cannot_be_read_nothing_starts(parts: Parts) -> None:
    announce(parts, {0})
    parts.assign(0)
    parts.take_requests(1)
    announce(parts, set())
    parts.groups.unstable = 2
    parts.handover.run_once()
    parts.handover.run_once()
    assert parts.released == []
    ask(parts)
    assert len(parts.released) == 1


def test_an_assignment_waits_until_the_announcement_can_be_read(parts: Parts) -> None:
    announce(parts, {0})
    parts.groups.unstable = 2
    parts.assign(0)
    assert [each.awaited for each in parts.take_requests(1)] == [True]


def test_a_partition_that_moves_on_is_announced_in_a_slot_that_nobody_uses(parts: Parts) -> None:
    announce(parts, {0})
    parts.may_announce = True
    parts.assign(0)
    _, second = parts.take_requests(2)
    parts.start(second)
    parts.handover.on_revoke(parts.member, [parts.consumer_partition(0)])
    assert parts.groups.announced[TOPIC, 0, 0].running == {0}, "the first owner still runs it"
    assert parts.groups.announced[TOPIC, 0, 1].running == {1}


def test_a_partition_whose_slots_are_all_in_use_is_given_back_without_its_jobs(parts: Parts) -> None:
    announce(parts, {0})
    announce(parts, {1}, slot=1)
    parts.may_announce = True
    parts.assign(0)
    *_, third = parts.take_requests(3)
    parts.start(third)
    parts.handover.on_revoke(parts.member, [parts.consumer_partition(0)])
    assert not third.retained
    assert {each.running for each in parts.groups.announced.values()} == {frozenset({0}), frozenset({1})}
