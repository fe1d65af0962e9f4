"""A group member returns everything that it is assigned, on a scripted consumer."""

import pytest
from confluent_kafka import TopicPartition

from millstream.consumers.kafka.assignment import Assignment
from millstream.consumers.kafka.group_member import FETCH_AT_ONCE, FETCH_BYTES
from tests.support.scripted_group import ScriptedConsumer, ScriptedMessage, scripted_member

TOPIC = "jobs.default"


class SizedMessage(ScriptedMessage):
    """A message as confluent-kafka has it: its length is that of its value."""

    def __len__(self) -> int:
        return len(self.value() or b"")


@pytest.mark.parametrize("value", [None, b"", b"value"])
def test_a_record_without_a_value_is_returned_like_any_other(value: bytes | None) -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    for receive in (member.fetch, lambda: member.poll(0)):
        consumer.arriving.append([SizedMessage(TOPIC, 0, 0, value)])
        (message,) = receive()
        assert message.value() == value
    assert member.poll(0) == []


def test_a_partition_that_was_paused_when_it_was_removed_is_resumed_when_it_comes_back() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    assignment = Assignment(TOPIC, 0, "default")
    member.assign([assignment])
    member.pause([assignment])
    assignment.paused = True
    member.remove((TOPIC, 0))
    assert consumer.paused == {(TOPIC, 0)}
    member.assign([Assignment(TOPIC, 0, "default")])
    assert consumer.paused == set()


def test_offsets_of_an_aborted_transaction_are_committed_by_the_next_one() -> None:
    member = scripted_member(ScriptedConsumer())
    assignment = Assignment(TOPIC, 0, "default")
    member.assign([assignment])
    assert member.commit() is None
    assignment.ledger.take(0)
    assignment.finish(0)
    commit = member.commit()
    assert commit is not None and [each.offset for each in commit.offsets] == [1]
    assert member.commit() is None
    member.commit_again([commit])
    again = member.commit()
    assert again is not None and [each.offset for each in again.offsets] == [1]


def test_reading_resumes_at_the_next_unread_offset() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    assignment = Assignment(TOPIC, 0, "default", first_offset=5)
    member.assign([assignment])
    member.resume([assignment])
    assignment.ledger.take(5)
    member.resume([assignment])
    assert [what for name, what in consumer.calls if name == "seek"] == [(0, 5), (0, 6)]


def test_a_partition_that_was_assigned_during_a_fetch_is_read_from_its_first_offset() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)

    def consume(count: int, timeout: float) -> list[ScriptedMessage]:
        member.rebalances += 1
        member.assign([Assignment(TOPIC, 0, "default", first_offset=7, rebalance=member.rebalances)])
        return [ScriptedMessage(TOPIC, 0, 9, b"of the assignment before")]

    consumer.consume = consume  # type: ignore[method-assign]
    assert member.fetch() == []
    assert ("seek", (0, 7)) in consumer.calls


def test_a_member_that_has_left_does_not_leave_again() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    member.leave()
    member.leave()
    assert consumer.calls == [("close", None)]


def test_a_member_gives_back_only_what_its_client_reads() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    member.assign([Assignment(TOPIC, 0, "default")])
    member.unassign([TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    assert consumer.calls[-1] == ("unassign", [0])


def test_a_member_that_leaves_answers_each_rebalance_and_its_listener_hears_of_none() -> None:
    class Listener:
        """Fails when it hears of a rebalance."""

        def on_assign(self, *_: object) -> None:
            raise AssertionError("the member has left")

        on_revoke = on_lost = on_assign

    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    member.join(Listener())
    member.assign([Assignment(TOPIC, 0, "default")])
    member.leave()
    del consumer.calls[:]
    both = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
    consumer.callbacks["on_assign"](consumer, both)
    consumer.callbacks["on_revoke"](consumer, both)
    consumer.callbacks["on_lost"](consumer, both)
    assert consumer.calls == [("assign", []), ("unassign", [0]), ("unassign", [])]


def test_of_large_records_few_are_fetched_at_once_and_of_small_ones_many() -> None:
    consumer = ScriptedConsumer()
    member = scripted_member(consumer)
    asked: list[int] = []
    size = 1_000_000

    def consume(count: int, timeout: float) -> list[ScriptedMessage]:
        asked.append(count)
        return [ScriptedMessage(TOPIC, 0, offset, b"x" * size) for offset in range(count)]

    consumer.consume = consume  # type: ignore[method-assign]
    for _ in range(5):
        member.fetch()
    assert asked[0] <= 16
    assert max(asked[1:]) * size <= 2 * FETCH_BYTES
    size = 100
    for _ in range(10):
        member.fetch()
    assert asked[-1] == FETCH_AT_ONCE
