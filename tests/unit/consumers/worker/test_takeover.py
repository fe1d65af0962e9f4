"""Taking partitions over: each starts where it was left, and none waits for another."""

from typing import cast

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from millstream.consumers.kafka.offset_ledger import Checkpoint, OffsetLedger
from millstream.consumers.worker import takeover
from tests.support.scripted_group import ScriptedMessage
from tests.support.scripted_positions import CLUSTER
from tests.unit.consumers.worker.conftest import TOPIC, Parts


@pytest.fixture(autouse=True)
def _ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "ASK_INTERVAL_S", 0.0)


def assigned(parts: Parts) -> list[tuple[int, int]]:
    return [start for name, starts in parts.consumer.calls if name == "assign" for start in starts]


def out_of_range(parts: Parts, partition: int, code: int = KafkaError._AUTO_OFFSET_RESET) -> None:
    """The consumer reports that the next offset is not in the log, or that the topic is gone."""
    error = KafkaError(code, "out of range")
    parts.intake.take(parts.member, [cast(Message, ScriptedMessage(TOPIC, partition, -1, None, error))])
    parts.handover.run_once()
    parts.handover.run_once()


def test_a_partition_whose_commit_is_unknown_is_held_back_alone(parts: Parts) -> None:
    parts.positions.unknown = {1: 2}
    parts.assign(0, 1, 2)
    assert assigned(parts) == [(0, 0), (2, 0)]
    parts.handover.run_once()
    assert parts.status.held_back == {f"{TOPIC}[1]": "the offsets are pending"}
    for _ in range(4):
        parts.handover.run_once()
    assert assigned(parts) == [(0, 0), (2, 0), (1, 0)]
    assert parts.status.held_back == {}


def test_a_partition_that_is_taken_away_while_it_is_held_back_is_not_started(parts: Parts) -> None:
    parts.positions.unknown = {1: 2}
    parts.assign(0, 1)
    parts.handover.on_revoke(parts.member, [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    assert parts.consumer.calls[-1] == ("unassign", [0])
    for _ in range(4):
        parts.handover.run_once()
    assert assigned(parts) == [(0, 0)]


def test_a_partition_that_is_held_back_when_its_member_leaves_the_group_is_not_started(parts: Parts) -> None:
    parts.positions.unknown = {1: 2}
    parts.assign(0, 1)
    parts.handover.give_back_all([parts.member])
    for _ in range(4):
        parts.handover.run_once()
    assert assigned(parts) == [(0, 0)]
    assert parts.status.held_back == {}


def test_a_first_assignment_is_committed_before_anything_is_read(parts: Parts) -> None:
    parts.assign(0)
    parts.commit_loop.write_all()
    assert parts.commits() == {0: 0}


def test_what_finishes_fits_into_the_commits_of_a_broker_that_accepts_little_metadata(parts: Parts) -> None:
    parts.positions.metadata_limit = 511
    parts.assign(0)
    (assignment,) = parts.member.assignments.values()
    taken = 0
    while not assignment.ledger.nearly_full:
        assert assignment.ledger.take(taken)
        taken += 1
    for offset in range(1, taken, 2):
        assignment.finish(offset)
    committed = assignment.offset_to_commit()
    assert committed is not None
    metadata = committed.metadata or ""
    assert committed.offset == 0
    assert len(metadata) <= 511
    again = OffsetLedger(Checkpoint(0, metadata), place=f"{CLUSTER}/{TOPIC}/0")
    assert [offset for offset in range(taken) if again.take(offset)] == list(range(0, taken, 2))


def test_a_log_that_became_shorter_is_read_from_its_beginning_and_no_job_is_taken_for_done(parts: Parts) -> None:
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 5000)
    parts.positions.ranges[TOPIC, 0] = (0, 300)
    parts.assign(0)
    assert assigned(parts) == [(0, 0)]
    assert parts.metrics.missing == 4700
    assert len(parts.take_requests(300)) == 300


def test_metadata_that_reaches_beyond_the_log_is_of_another_log(parts: Parts) -> None:
    ledger = parts.ledger()
    for offset in range(100):
        ledger.take(offset)
    ledger.finish(99)
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 0, checkpoint.metadata)
    parts.positions.ranges[TOPIC, 0] = (0, 50)
    parts.assign(0)
    assert len(parts.take_requests(50)) == 50


def test_records_that_were_deleted_before_they_were_read_are_counted(parts: Parts) -> None:
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 10)
    parts.positions.ranges[TOPIC, 0] = (25, 40)
    parts.assign(0)
    assert assigned(parts) == [(0, 25)]
    assert parts.metrics.missing == 15


def test_of_deleted_records_only_those_that_had_not_finished_are_counted_and_once(parts: Parts) -> None:
    ledger = OffsetLedger(Checkpoint(10), place=f"{CLUSTER}/{TOPIC}/0")
    for offset in range(10, 20):
        ledger.take(offset)
    for offset in (11, 12, 13, 18):
        ledger.finish(offset)
    written = ledger.checkpoint()
    assert written is not None
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, written.offset, written.metadata)
    parts.positions.ranges[TOPIC, 0] = (25, 25)
    parts.assign(0)
    assert assigned(parts) == [(0, 25)]
    assert parts.metrics.missing == 6 + 5, "those that had not finished, and those that were never taken"
    (assignment,) = parts.member.assignments.values()
    commit = assignment.offset_to_commit()
    assert commit is not None and (commit.offset, commit.metadata) == (25, ""), "the next start finds nothing missing"


def test_a_position_outside_the_log_starts_a_new_assignment_with_a_new_ledger(parts: Parts) -> None:
    parts.assign(0)
    (before,) = parts.take_requests(1)
    out_of_range(parts, 0)
    assert not before.live
    assert parts.cancelled == 1
    assert len(parts.take_requests(5)) == 5, "the offsets of the new log are not taken for repeats"


def test_a_topic_that_was_made_again_is_read_from_its_beginning_whatever_was_committed(parts: Parts) -> None:
    parts.assign(0)
    parts.take_requests(2)
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 2)
    parts.positions.ranges[TOPIC, 0] = (0, 500)
    out_of_range(parts, 0, KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert assigned(parts)[-1] == (0, 0)
    parts.commit_loop.write_all()
    assert parts.commits() == {0: 0}
