"""A batch whose producer is lost: whether it was committed is found out, and the partitions stay."""

import pytest
from confluent_kafka import KafkaError, TopicPartition

from millstream.consumers.kafka.transaction import ProducerLost, TransactionAborted
from millstream.consumers.kafka.transaction_thread import TransactionBatch
from millstream.consumers.worker import batch_writer
from millstream.consumers.worker.batch_writer import MOST_LOSSES
from tests.unit.consumers.worker.conftest import TOPIC, Parts


def finish_one(parts: Parts) -> None:
    """Let one job end, and begin its transaction."""
    (execution,) = parts.take_requests(1)
    parts.start(execution)
    parts.succeed(execution)


def lose_once(parts: Parts, error: ProducerLost, committed: bool = False) -> None:
    """The next transaction loses the producer; `committed`: although the broker had committed it."""

    def refuses(batch: TransactionBatch) -> Exception:
        parts.transactions.refuses = lambda batch: None
        if committed:
            offsets = [offset for commit in batch.commits for offset in commit.offsets]
            parts.consumer.commits |= {(each.topic, each.partition): each for each in offsets}
        return error

    parts.transactions.refuses = refuses


def go_on(parts: Parts) -> None:
    for _ in range(5):
        parts.writer._rests_until = 0.0
        parts.commit_loop.run_once()


def test_a_batch_that_was_not_committed_is_written_by_another_producer(parts: Parts) -> None:
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 0)
    parts.assign(0)
    held = parts.member.assignments[TOPIC, 0]
    finish_one(parts)
    lose_once(parts, ProducerLost("fenced"))
    go_on(parts)
    assert parts.transactions.renewed == 1
    assert len(parts.transactions.written) == 1
    assert parts.committed() == {0: 1}
    assert parts.member.assignments == {(TOPIC, 0): held} and parts.cancelled == 0


def test_a_batch_that_was_committed_is_not_written_twice(parts: Parts) -> None:
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 0)
    parts.assign(0)
    finish_one(parts)
    lose_once(parts, ProducerLost("fenced"), committed=True)
    go_on(parts)
    assert parts.transactions.written == []
    assert parts.commit_loop.empty
    finish_one_more = parts.take(*[b""], first_offset=1)
    assert finish_one_more == []


def test_a_loss_that_says_what_became_of_the_batch_needs_no_offsets(parts: Parts) -> None:
    parts.assign(0)
    parts.consumer.unknown = 1000
    finish_one(parts)
    lose_once(parts, ProducerLost("the abort failed", TransactionAborted("unknown topic")))
    go_on(parts)
    assert parts.committed() == {0: 1}


def test_the_fate_of_a_batch_is_read_until_the_offsets_are_known(parts: Parts) -> None:
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 0)
    parts.assign(0)
    finish_one(parts)
    lose_once(parts, ProducerLost("fenced"), committed=True)
    parts.consumer.unknown = 3
    go_on(parts)
    go_on(parts)
    assert parts.transactions.written == []
    assert parts.commit_loop.empty


def test_a_worker_that_is_fenced_again_and_again_starts_over(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.writer._backoff, "after", lambda lasted_s: 0.0)
    parts.consumer.commits[TOPIC, 0] = TopicPartition(TOPIC, 0, 0)
    parts.assign(0)
    finish_one(parts)
    parts.transactions.refuses = lambda batch: ProducerLost("fenced")
    with pytest.raises(ProducerLost):
        for _ in range(10 * MOST_LOSSES):
            parts.writer._rests_until = 0.0
            parts.commit_loop.run_once()
    assert parts.transactions.renewed == MOST_LOSSES - 1


def test_a_worker_whose_group_goes_on_without_it_notices_and_starts_over(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.assign(0)
    finish_one(parts)
    parts.transactions.refuses = lambda batch: TransactionAborted("no member", KafkaError.UNKNOWN_MEMBER_ID)
    go_on(parts)
    assert parts.transactions.renewed == 0, "a rebalance under way refuses commits too"
    monkeypatch.setattr(batch_writer, "LEFT_AFTER_S", -1.0)
    with pytest.raises(ProducerLost, match="without this worker"):
        go_on(parts)


def test_attempts_that_fail_rest_longer_and_longer(parts: Parts) -> None:
    parts.assign(0)
    finish_one(parts)
    parts.transactions.refuses = lambda batch: TransactionAborted("the coordinator moved")
    for _ in range(200):
        parts.commit_loop.run_once()
    assert len(parts.transactions.attempted) < 5
