"""Rebalances: where reading starts, and what becomes of jobs whose partition is taken away."""

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.offset_ledger import Checkpoint
from millstream.consumers.kafka.transaction import ProducerLost
from millstream.consumers.worker import handover
from tests.unit.consumers.worker.conftest import TOPIC, Parts

PARTITION = [TopicPartition(TOPIC, 0)]


def commit(checkpoint: Checkpoint | None) -> TopicPartition:
    assert checkpoint is not None
    return TopicPartition(TOPIC, 0, checkpoint.offset, checkpoint.metadata)


def test_reading_starts_at_the_commit_and_skips_what_had_finished_above_it(parts: Parts) -> None:
    ledger = parts.ledger()
    for offset in range(7, 10):
        ledger.take(offset)
    ledger.finish(8)
    parts.consumer.commits[TOPIC, 0] = commit(ledger.checkpoint())
    parts.assign(0)
    assert ("assign", [(0, 7)]) in parts.consumer.calls
    values = [each.value for each in parts.take_requests(1)]
    assert values == [], "offset 0 is below the commit"


def test_offsets_that_had_finished_above_the_watermark_do_not_run_again(parts: Parts) -> None:
    ledger = parts.ledger()
    for offset in range(3):
        ledger.take(offset)
    ledger.finish(1)
    parts.consumer.commits[TOPIC, 0] = commit(ledger.checkpoint())
    parts.assign(0)
    assert [each.offset for each in parts.take_requests(4)] == [0, 2, 3]


def test_an_assignment_waits_until_the_transactional_producer_is_open(parts: Parts) -> None:
    parts.transactions.opens_after = 3
    parts.assign(0)
    assert parts.transactions.opens_after < 0
    assert [name for name, _ in parts.consumer.calls].count("assign") == 1


def test_an_assignment_does_not_hold_up_its_group_for_a_producer_that_does_not_open(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OPENED_WITHIN_S", 0.02)
    parts.transactions.opens_after = 10**6
    with pytest.raises(ProducerLost, match=r"did not open within 0\.02 s"):
        parts.assign(0)
    assert parts.member.assignments == {}


def test_a_worker_that_is_stopped_before_its_producer_is_open_starts_nothing(parts: Parts) -> None:
    parts.transactions.opens_after = 10**6
    parts.status.stopping.set()
    parts.assign(0)
    assert parts.member.assignments == {}


def test_what_runs_finishes_within_the_grace_period_and_is_committed_before_the_partition_is_given_back(
    parts: Parts,
) -> None:
    parts.assign(0)
    started, waiting = parts.take_requests(2)
    parts.start(started)
    parts.succeed(started)
    parts.handover.on_revoke(parts.member, PARTITION)
    assert parts.committed() == {0: 1}
    assert parts.consumer.calls[-1] == ("unassign", [0])
    assert not waiting.live, "what had not started is left to the next owner"
    assert parts.cancelled == 1


def test_a_job_that_outlasts_the_grace_period_is_left_to_the_next_owner(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.handover.on_revoke(parts.member, PARTITION)
    parts.succeed(execution)
    parts.commit_loop.write_all()
    assert parts.committed() == {}
    assert parts.in_flight.admission.records == 0


def test_an_abort_while_a_partition_is_revoked_is_retried_once_more(parts: Parts) -> None:
    parts.assign(0)
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.succeed(execution)
    parts.transactions.aborts = 1
    parts.handover.on_revoke(parts.member, PARTITION)
    assert parts.committed() == {0: 1}


def test_nothing_of_a_lost_partition_is_committed(parts: Parts) -> None:
    parts.assign(0, 1)
    (lost,) = parts.take_requests(1)
    parts.start(lost)
    parts.succeed(lost)
    parts.handover.on_lost(parts.member, PARTITION)
    parts.commit_loop.write_all()
    assert parts.committed() == {}
    assert set(parts.member.assignments) == {(TOPIC, 1)}


def test_a_partition_that_comes_back_after_a_revocation_is_a_new_assignment(parts: Parts) -> None:
    parts.assign(0)
    before = parts.member.assignments[TOPIC, 0]
    parts.handover.on_revoke(parts.member, PARTITION)
    parts.assign(0)
    assert parts.member.assignments[TOPIC, 0] is not before
    assert not before.held


def test_a_lost_partition_that_comes_back_goes_on_with_its_jobs(parts: Parts) -> None:
    parts.assign(0)
    running, queued = parts.take_requests(2)
    parts.start(running)
    parts.handover.on_lost(parts.member, PARTITION)
    parts.succeed(running)
    parts.commit_loop.write_all()
    assert (parts.cancelled, parts.committed()) == (0, {}), "what runs goes on, and nothing of it is written"
    parts.assign(0)
    assert queued.live and parts.resumed == 1
    assert parts.consumer.calls[-1] == ("assign", [(0, 2)]), "nothing is read again"
    parts.commit_loop.write_all()
    assert parts.committed() == {0: 1}
    parts.start(queued)
    parts.succeed(queued)
    parts.commit_loop.write_all()
    assert parts.committed() == {0: 2}


def test_a_lost_partition_that_another_worker_has_had_is_read_anew_and_its_jobs_are_cancelled(parts: Parts) -> None:
    parts.assign(0)
    (running,) = parts.take_requests(1)
    parts.start(running)
    before = parts.member.assignments[TOPIC, 0]
    parts.handover.on_lost(parts.member, PARTITION)
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 1)
    parts.assign(0)
    assert parts.member.assignments[TOPIC, 0] is not before
    assert not before.held and parts.cancelled == 1
    assert parts.consumer.calls[-1] == ("assign", [(0, 1)])


def test_a_lost_partition_waits_for_its_last_transaction_before_it_is_resumed(parts: Parts) -> None:
    parts.assign(0)
    before = parts.member.assignments[TOPIC, 0]
    (finished,) = parts.take_requests(1)
    parts.start(finished)
    parts.succeed(finished)
    parts.transactions.hangs = True
    parts.commit_loop.run_once()
    parts.handover.on_lost(parts.member, PARTITION)
    parts.assign(0)
    assert parts.member.assignments == {}, "its commit says nothing yet"
    assert parts.consumer.calls[-1] == ("assign", []), "else the client would assign it by itself"
    parts.transactions.hangs = False
    parts.commit_loop.run_once()
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 1)
    for held_back in parts.takeover._held_back.values():
        held_back.asked_at = 0.0
    parts.handover.run_once()
    parts.handover.run_once()
    assert parts.member.assignments == {(TOPIC, 0): before} and before.writable
